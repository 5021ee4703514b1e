"""The Celery app of the shop, configured as in production."""

from celery import Celery
from celery.schedules import crontab
from kombu import Queue

app = Celery("shop", broker="amqp://shop@rabbitmq//", backend="redis://localhost:6379/0", include=["shop.tasks"])

app.conf.update(
    timezone="UTC",
    result_expires=24 * 3600,
    task_default_queue="default",
    task_queues=[Queue("default"), Queue("payments"), Queue("mail")],
    task_routes={
        "shop.tasks.charge": {"queue": "payments"},
        "shop.tasks.send_mail": {"queue": "mail"},
    },
    beat_schedule={
        "nightly-report": {"task": "shop.tasks.nightly_report", "schedule": crontab(hour=3, minute=0)},
    },
)
