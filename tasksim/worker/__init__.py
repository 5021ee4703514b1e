"""Real Celery, living in the simulation. Only this folder and the seams know Celery, kombu and billiard."""
