"""The methods of AMQP 0-9-1: their ids and the formats of their arguments on the wire, in both directions.

Formats are py-amqp's letters: b bit (neighbouring bits share octets), o octet, B short, l long, L long long,
s short string, S long string, x long string as bytes, F table. Where py-amqp reads less than RabbitMQ writes (the
reserved string of Connection.OpenOk, say) the format here is RabbitMQ's, and py-amqp passes over the rest.
"""

from __future__ import annotations

from tasksim.message import Content

__all__ = ["CONTENT", "FROM_CLIENT", "FROM_SERVER", "HEARTBEAT", "Content", "Method"]

#: (class id, method id)
Method = tuple[int, int]

#: Not a method: a heartbeat frame, in either direction, on channel 0.
HEARTBEAT: Method = (0, 0)


CONNECTION_START = (10, 10)
CONNECTION_START_OK = (10, 11)
CONNECTION_SECURE_OK = (10, 21)
CONNECTION_TUNE = (10, 30)
CONNECTION_TUNE_OK = (10, 31)
CONNECTION_OPEN = (10, 40)
CONNECTION_OPEN_OK = (10, 41)
CONNECTION_CLOSE = (10, 50)
CONNECTION_CLOSE_OK = (10, 51)
CONNECTION_BLOCKED = (10, 60)
CONNECTION_UNBLOCKED = (10, 61)
CHANNEL_OPEN = (20, 10)
CHANNEL_OPEN_OK = (20, 11)
CHANNEL_FLOW = (20, 20)
CHANNEL_FLOW_OK = (20, 21)
CHANNEL_CLOSE = (20, 40)
CHANNEL_CLOSE_OK = (20, 41)
EXCHANGE_DECLARE = (40, 10)
EXCHANGE_DECLARE_OK = (40, 11)
EXCHANGE_DELETE = (40, 20)
EXCHANGE_DELETE_OK = (40, 21)
EXCHANGE_BIND = (40, 30)
EXCHANGE_BIND_OK = (40, 31)
EXCHANGE_UNBIND = (40, 40)
EXCHANGE_UNBIND_OK = (40, 51)
QUEUE_DECLARE = (50, 10)
QUEUE_DECLARE_OK = (50, 11)
QUEUE_BIND = (50, 20)
QUEUE_BIND_OK = (50, 21)
QUEUE_PURGE = (50, 30)
QUEUE_PURGE_OK = (50, 31)
QUEUE_DELETE = (50, 40)
QUEUE_DELETE_OK = (50, 41)
QUEUE_UNBIND = (50, 50)
QUEUE_UNBIND_OK = (50, 51)
BASIC_QOS = (60, 10)
BASIC_QOS_OK = (60, 11)
BASIC_CONSUME = (60, 20)
BASIC_CONSUME_OK = (60, 21)
BASIC_CANCEL = (60, 30)
BASIC_CANCEL_OK = (60, 31)
BASIC_PUBLISH = (60, 40)
BASIC_RETURN = (60, 50)
BASIC_DELIVER = (60, 60)
BASIC_GET = (60, 70)
BASIC_GET_OK = (60, 71)
BASIC_GET_EMPTY = (60, 72)
BASIC_ACK = (60, 80)
BASIC_REJECT = (60, 90)
BASIC_RECOVER_ASYNC = (60, 100)
BASIC_RECOVER = (60, 110)
BASIC_RECOVER_OK = (60, 111)
BASIC_NACK = (60, 120)
CONFIRM_SELECT = (85, 10)
CONFIRM_SELECT_OK = (85, 11)
TX_SELECT = (90, 10)
TX_SELECT_OK = (90, 11)
TX_COMMIT = (90, 20)
TX_COMMIT_OK = (90, 21)
TX_ROLLBACK = (90, 30)
TX_ROLLBACK_OK = (90, 31)

#: What a client writes, as py-amqp does (its `argsig` defaults).
FROM_CLIENT: dict[Method, str] = {
    CONNECTION_START_OK: "Fsxs",  # the response is written as S; as bytes it need not be text
    CONNECTION_SECURE_OK: "x",
    CONNECTION_TUNE_OK: "BlB",
    CONNECTION_OPEN: "ssb",
    CONNECTION_CLOSE: "BsBB",
    CONNECTION_CLOSE_OK: "",
    CONNECTION_BLOCKED: "s",
    CONNECTION_UNBLOCKED: "",
    CHANNEL_OPEN: "s",
    CHANNEL_FLOW: "b",
    CHANNEL_FLOW_OK: "b",
    CHANNEL_CLOSE: "BsBB",
    CHANNEL_CLOSE_OK: "",
    EXCHANGE_DECLARE: "BssbbbbbF",
    EXCHANGE_DELETE: "Bsbb",
    EXCHANGE_BIND: "BsssbF",
    EXCHANGE_UNBIND: "BsssbF",
    QUEUE_DECLARE: "BsbbbbbF",
    QUEUE_BIND: "BsssbF",
    QUEUE_PURGE: "Bsb",
    QUEUE_DELETE: "Bsbbb",
    QUEUE_UNBIND: "BsssF",
    BASIC_QOS: "lBb",
    BASIC_CONSUME: "BssbbbbF",
    BASIC_CANCEL: "sb",
    BASIC_CANCEL_OK: "s",
    BASIC_PUBLISH: "Bssbb",
    BASIC_GET: "Bsb",
    BASIC_ACK: "Lb",
    BASIC_REJECT: "Lb",
    BASIC_RECOVER_ASYNC: "b",
    BASIC_RECOVER: "b",
    BASIC_NACK: "Lbb",
    CONFIRM_SELECT: "b",
    TX_SELECT: "",
    TX_COMMIT: "",
    TX_ROLLBACK: "",
}

#: What the server writes.
FROM_SERVER: dict[Method, str] = {
    CONNECTION_START: "ooFSS",
    CONNECTION_TUNE: "BlB",
    CONNECTION_OPEN_OK: "s",
    CONNECTION_CLOSE: "BsBB",
    CONNECTION_CLOSE_OK: "",
    CONNECTION_BLOCKED: "s",
    CONNECTION_UNBLOCKED: "",
    CHANNEL_OPEN_OK: "S",
    CHANNEL_FLOW_OK: "b",
    CHANNEL_CLOSE: "BsBB",
    CHANNEL_CLOSE_OK: "",
    EXCHANGE_DECLARE_OK: "",
    EXCHANGE_DELETE_OK: "",
    EXCHANGE_BIND_OK: "",
    EXCHANGE_UNBIND_OK: "",
    QUEUE_DECLARE_OK: "sll",
    QUEUE_BIND_OK: "",
    QUEUE_PURGE_OK: "l",
    QUEUE_DELETE_OK: "l",
    QUEUE_UNBIND_OK: "",
    BASIC_QOS_OK: "",
    BASIC_CONSUME_OK: "s",
    BASIC_CANCEL: "sb",
    BASIC_CANCEL_OK: "s",
    BASIC_RETURN: "Bsss",
    BASIC_DELIVER: "sLbss",
    BASIC_GET_OK: "Lbssl",
    BASIC_GET_EMPTY: "s",
    BASIC_ACK: "Lb",
    BASIC_NACK: "Lbb",
    BASIC_RECOVER_OK: "",
    CONFIRM_SELECT_OK: "",
    TX_SELECT_OK: "",
    TX_COMMIT_OK: "",
    TX_ROLLBACK_OK: "",
}

#: Methods that a content follows.
CONTENT: frozenset[Method] = frozenset([BASIC_PUBLISH, BASIC_RETURN, BASIC_DELIVER, BASIC_GET_OK])
