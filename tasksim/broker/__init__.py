"""Servers that hold messages: RabbitMQ's rules, in pure Python, on anybody's clock."""
