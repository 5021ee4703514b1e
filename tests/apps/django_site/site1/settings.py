import os
from pathlib import Path

BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "not secret"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_beat", "notes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
if os.environ.get("DATABASE") == "file":
    DATABASES["default"]["TEST"] = {"NAME": str(BASE_DIR / "test.sqlite3")}
if os.environ.get("DATABASE") == "postgres":
    server = dict(one.split("=") for one in os.environ["TASKSIM_POSTGRES"].split())
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql", "NAME": server["dbname"], "USER": server["user"],
        "HOST": server["host"], "TEST": {"NAME": f"test_{os.getpid()}"},
    }  # fmt: skip

CELERY_BROKER_URL = os.environ["BROKER"]
CELERY_RESULT_BACKEND = "redis://"
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 60}
CELERY_TASK_TRACK_STARTED = True
