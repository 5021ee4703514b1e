"""An AMQP 0-9-1 server with RabbitMQ's rules.

A method goes connection -> channel -> handlers -> exchange -> queue -> channel of the consumer -> connection. Sources
of the rules are named beside them: "spec" is the AMQP 0-9-1 specification, "docs" a page of rabbitmq.com/docs, and a
name like rabbit_channel the module of RabbitMQ's own server whose behaviour (4.1) was followed.
"""
