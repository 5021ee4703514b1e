"""An AMQP 0-9-1 server with RabbitMQ's rules.

A method goes connection -> handlers -> channel -> exchange -> queue -> channel of the consumer -> connection. Sources
of the rules are named beside them: "spec" is the AMQP 0-9-1 specification, "docs" a page of rabbitmq.com/docs, and a
name like rabbit_channel the module of RabbitMQ's own server whose behaviour (4.1) was followed.

Not simulated: users and permissions (any login may do all), policies, streams, direct reply-to, CC and BCC headers,
plugins, flow control, delayed retry of quorum queues, clusters (but for the loss of a node). All that takes real
servers some time, such as writing to disk before a confirm, takes none. docs/reference/rabbitmq.md lists what differs
between versions, and who would meet what is left out.
"""
