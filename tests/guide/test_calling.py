"""Calling tasks (userguide/calling), and the security of what is called (userguide/security)."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as CeleryTimeout
from kombu import serialization
from kombu.exceptions import OperationalError

from tasksim import Simulation


@pytest.fixture
def app(app: Celery) -> Celery:
    @app.task(name="tasks.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="tasks.fail", shared=False)
    def fail() -> None:
        raise ValueError("no")

    return app


def add(app: Celery) -> Any:
    return app.tasks["tasks.add"]


def test_the_result_of_one_task_is_the_first_argument_of_the_next(app: Celery) -> None:
    with Simulation(app) as sim:
        result = add(app).apply_async((2, 2), link=add(app).s(16))
        assert result.get() == 4
        sim.run()
        assert result.children[0].get() == 20
        assert sorted(value for _, value in result.collect()) == [4, 20]


def test_error_callbacks_old_and_new(app: Celery) -> None:
    heard: list[Any] = []

    @app.task(shared=False)
    def error_handler(request: Any, exc: Any, traceback: Any) -> None:
        heard.append((request.id, repr(exc), "ValueError" in str(traceback)))

    @app.task(shared=False)
    def old_handler(task_id: str) -> None:
        heard.append((task_id,))

    with Simulation(app) as sim:
        new = app.tasks["tasks.fail"].apply_async(link_error=error_handler.s())
        sim.run()
        old = app.tasks["tasks.fail"].apply_async(link_error=old_handler.s())
        sim.run()
        app.tasks["tasks.fail"].apply_async(link_error=[old_handler.s(), old_handler.s()])
        sim.run()
    assert heard[:2] == [(new.id, "ValueError('no')", True), (old.id,)]
    assert len(heard) == 4


def test_on_message_follows_the_state_of_a_task(broker: str) -> None:
    app = Celery("proj", broker=broker, backend="rpc://" if broker == "amqp://" else "redis://")

    @app.task(bind=True, shared=False)
    def hello(self: Any, a: int, b: int) -> str:
        time.sleep(1)
        self.update_state(state="PROGRESS", meta={"progress": 50})
        time.sleep(1)
        self.update_state(state="PROGRESS", meta={"progress": 90})
        time.sleep(1)
        return f"hello world: {a + b}"

    heard: list[Any] = []

    def on_raw_message(body: Any) -> None:
        heard.append((body["status"], body["result"]))

    with Simulation(app):
        result = hello.apply_async(args=(30, 70))
        assert result.get(on_message=on_raw_message, propagate=False) == "hello world: 100"
    assert heard == [("PROGRESS", {"progress": 50}), ("PROGRESS", {"progress": 90}), ("SUCCESS", "hello world: 100")]


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "eta",
    [
        NOON + timedelta(minutes=10),
        (NOON + timedelta(minutes=10)).astimezone(timezone(timedelta(hours=-5))),
        (NOON + timedelta(minutes=10)).replace(tzinfo=None),  # naive ones are UTC
    ],
    ids=["UTC", "New York", "naive"],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_an_eta_in_any_time_zone(app: Celery, eta: datetime, zone: str) -> None:
    app.conf.timezone = zone
    with Simulation(app) as sim:
        result = add(app).apply_async((1, 2), eta=eta)
        sim.run()
        assert sim.trace.of(result).starts == pytest.approx([600], abs=0.5)


def test_countdown_and_expires(app: Celery) -> None:
    with Simulation(app, workers=0) as sim:
        soon = add(app).apply_async((10, 10), countdown=3)
        seconds = add(app).apply_async((10, 10), expires=60)
        moment = add(app).apply_async((10, 10), expires=datetime.now(UTC) + timedelta(days=1))
        sim.start_worker("w1", at=120)
        sim.run()
        assert (soon.get(), moment.get()) == (20, 20)
        assert not sim.trace.of(seconds).starts
        assert sim.trace.where("Expired") or sim.trace.where("MessageExpired")  # RabbitMQ drops it by itself


def test_publishing_is_retried_as_its_policy_says(app: Celery) -> None:
    app.conf.result_backend = "redis://localhost:6380/0"  # the results' server is another one
    with Simulation(app) as sim:
        add(app).delay(1, 1).get()
        sim.cut(client=True, server="broker")
        sim.refuse(2)
        result = add(app).apply_async(
            (2, 2), retry=True,
            retry_policy={"max_retries": 20, "interval_start": 0.2, "interval_step": 0.2, "interval_max": 0.2},
        )  # fmt: skip
        assert 1.9 < sim.now < 2.6
        assert result.get() == 4


def test_without_a_retry_a_lost_broker_is_an_operational_error(app: Celery) -> None:
    app.conf.result_backend = "redis://localhost:6380/0"  # the results' server is another one
    with Simulation(app) as sim:
        sim.run()
        sim.refuse()
        with pytest.raises(OperationalError):
            add(app).apply_async((2, 2), retry=False)
        with pytest.raises(OperationalError):
            add(app).apply_async((2, 2), retry_policy={"max_retries": 2, "interval_start": 0.1})
        sim.accept()
        assert add(app).delay(2, 2).get() == 4


def test_a_dropped_connection_is_opened_again(app: Celery) -> None:
    with Simulation(app) as sim:
        assert add(app).delay(1, 1).get() == 2
        sim.cut(client=True)
        assert add(app).delay(2, 2).get() == 4


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_serializers(app: Celery, serializer: str) -> None:
    if serializer == "msgpack":
        pytest.importorskip("msgpack")
    app.conf.accept_content = ["json", serializer]
    app.conf.result_serializer = serializer
    with Simulation(app):
        assert add(app).apply_async((10, 10), serializer=serializer).get() == 20


def test_a_serializer_of_ones_own(app: Celery) -> None:
    serialization.register(
        "shouting", lambda value: json.dumps(value).upper(), lambda text: json.loads(text.lower()),
        content_type="application/x-shouting", content_encoding="utf-8",
    )  # fmt: skip
    try:
        app.conf.accept_content = ["json", "shouting"]

        @app.task(name="lower", shared=False)
        def lower(word: str) -> str:
            return word

        with Simulation(app):
            assert lower.apply_async(("Word",), serializer="shouting").get() == "word"
    finally:
        serialization.unregister("shouting")


def test_content_that_is_not_accepted_is_refused_by_the_worker(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    app.conf.accept_content = ["json"]
    with Simulation(app) as sim:
        result = add(app).apply_async((10, 10), serializer="pickle")
        sim.run()
        assert not sim.trace.of(result).attempts
        assert not any(one.ready or one.unacked for one in sim.queues.values())
    assert any("Refusing to deserialize" in one.message for one in caplog.records)


def test_message_signing(broker: str, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key, certificate = signing_pair(tmp_path)
    app = Celery("proj", broker=broker, backend="redis://")
    app.conf.update(
        security_key=str(key), security_certificate=str(certificate), security_cert_store=str(tmp_path / "*.pem"),
        security_digest="sha256", task_serializer="auth", event_serializer="auth", accept_content=["auth"],
        result_accept_content=["json"],
    )  # fmt: skip

    @app.task(name="add", shared=False)
    def signed_add(x: int, y: int) -> int:
        return x + y

    registry = serialization.registry
    default = registry._default_content_type, registry._default_content_encoding, registry._default_encode
    try:
        app.setup_security()
        with Simulation(app) as sim:
            assert signed_add.delay(2, 2).get(timeout=10) == 4
            sim.assert_published(signed_add, args=(2, 2), times=1)
            forged = signed_add.apply_async((2, 2), serializer="json")
            sim.run()
            assert not sim.trace.of(forged).attempts
    finally:
        serialization.unregister("auth")
        serialization.enable_insecure_serializers()
        registry._disabled_content_types.clear()
        registry._default_content_type, registry._default_content_encoding, registry._default_encode = default


def signing_pair(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as keys
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proj")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2090, 1, 1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "worker.key", folder / "worker.pem"
    paths[0].write_bytes(
        key.private_bytes(keys.Encoding.PEM, keys.PrivateFormat.TraditionalOpenSSL, keys.NoEncryption())
    )
    paths[1].write_bytes(certificate.public_bytes(keys.Encoding.PEM))
    return paths


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "gzip"])
def test_compression(app: Celery, compression: str) -> None:
    @app.task(name="size", shared=False)
    def size(text: str) -> int:
        return len(text)

    with Simulation(app):
        assert size.apply_async(("x" * 10_000,), compression=compression).get() == 10_000


def test_ignore_result_for_one_call(app: Celery) -> None:
    with Simulation(app) as sim:
        result = add(app).apply_async((1, 2), ignore_result=True)
        sim.run()
        assert sim.trace.of(result).state is None
        assert sim.trace.of(result).attempts[0].state == "SUCCESS"


def test_routing_options(app: Celery) -> None:
    with Simulation(app, workers={"w1": {"queues": "priority.high"}, "w2": {}}) as sim:
        fast = add(app).apply_async((1, 2), queue="priority.high")
        assert fast.get() == 3
        assert [one.worker for one in sim.trace.of(fast).attempts] == ["w1"]
        assert sim.trace.where("Delivered", task_id=fast)[0].queue == "priority.high"


def test_priorities(app: Celery, broker: str) -> None:
    app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True)
    if broker == "amqp://":
        app.conf.task_queue_max_priority = 10
        first, last = 9, 0
    else:
        first, last = 0, 9  # on Redis 0 is the highest
    with Simulation(app, workers=0) as sim:
        low = add(app).apply_async((1, 2), priority=last)
        high = add(app).apply_async((1, 2), priority=first)
        sim.start_worker("w1", concurrency=1)
        sim.run()
        assert [one.task_id for one in sim.trace.attempts] == [high.id, low.id]


def test_shadow_headers_and_send_task(app: Celery) -> None:
    @app.task(name="who", bind=True, shared=False)
    def who(self: Any) -> Any:
        return self.request.shadow, self.request.headers.get("tenant")

    with Simulation(app) as sim:
        assert who.apply_async(shadow="mine", headers={"tenant": "shop"}).get() == ["mine", "shop"]
        result = app.send_task("tasks.add", args=[2, 2], kwargs={}, task_id="by-name")
        assert (result.id, result.get()) == ("by-name", 4)
        sim.run()


def test_add_to_parent_and_the_children_of_a_result(app: Celery) -> None:
    @app.task(name="parent", shared=False)
    def parent() -> None:
        add(app).delay(1, 2)
        add(app).apply_async((3, 4), add_to_parent=False)

    with Simulation(app) as sim:
        result = parent.delay()
        sim.run()
        assert [one.get() for one in result.children] == [3]
        assert [value for _, value in result.collect(intermediate=True)] == [None, 3]


def test_get_gives_up_after_its_timeout_and_can_leave_errors(app: Celery) -> None:
    with Simulation(app) as sim:
        with pytest.raises(CeleryTimeout):
            add(app).apply_async((1, 2), countdown=60).get(timeout=5)
        assert sim.now == pytest.approx(5, abs=0.6)
        error = app.tasks["tasks.fail"].delay().get(propagate=False)
        assert isinstance(error, ValueError)
