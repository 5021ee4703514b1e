"""Flask's own pattern for Celery (flask.palletsprojects.com, "Background Tasks with Celery"), and its test client."""

import time

import pytest
from celery import Celery, Task, shared_task
from celery.result import AsyncResult
from flask import Flask, current_app, g, has_app_context

from tasksim import Simulation


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


@shared_task(name="flask_report", acks_late=True, bind=True)
def report(self, rows):
    assert not hasattr(g, "rows")
    g.rows = rows
    time.sleep(30)
    return [current_app.name, g.rows, self.request.id]


@shared_task(name="flask_bare", base=Task)
def bare():
    return has_app_context()


@pytest.fixture(params=["amqp://", "redis://"])
def flask_app(request) -> Flask:
    app = Flask("shop")
    app.config.from_mapping(
        CELERY={"broker_url": request.param, "result_backend": "redis://", "task_ignore_result": False}
    )
    celery_init_app(app)

    @app.post("/reports")
    def start() -> dict:
        return {"id": report.delay(3).id}

    @app.get("/reports/<number>")
    def look(number) -> dict:
        return {"state": AsyncResult(number).state}

    return app


def test_views_and_a_worker_killed(flask_app):
    client = flask_app.test_client()
    with Simulation(flask_app.extensions["celery"], workers=2) as sim:
        number = client.post("/reports").json["id"]
        sim.run(until=10)
        assert client.get(f"/reports/{number}").json == {"state": "PENDING"}
        sim.kill(worker=sim.trace.attempts[0].worker)
        sim.run(limit=7200)
        assert client.get(f"/reports/{number}").json == {"state": "SUCCESS"}
        assert [one.state for one in sim.trace.attempts] == ["LOST", "SUCCESS"]


def test_contexts_of_tasks_are_apart_from_each_other_and_from_the_tests(flask_app):
    with flask_app.app_context(), Simulation(flask_app.extensions["celery"], workers=2) as sim:
        g.rows = "the test's"
        results = [report.delay(number) for number in range(3)]
        sim.run()
        assert [result.get()[:2] for result in results] == [["shop", number] for number in range(3)]
        assert g.rows == "the test's"
        assert bare.delay().get(timeout=10) is False
