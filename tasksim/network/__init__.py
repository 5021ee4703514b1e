"""Addresses, wires and the servers that are not brokers only; nothing leaves the process."""
