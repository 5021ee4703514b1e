"""What the checks refer to: laws of Celery 5.7 and kombu 5.7, and incidents that people had, each with its source.

The numbers are those of the project's catalogue; they do not change when others are added.
"""

from __future__ import annotations

__all__ = ["INCIDENTS", "LAWS"]

#: Law: what holds in Celery as shipped, and where that is decided.
LAWS: dict[str, str] = {
    "S1": "an early ack is sent when the pool has accepted the job, before the body runs (Request.on_accepted)",
    "S2": "a late ack is sent after the child has reported, so a death before it repeats the task (Request.on_success)",
    "S3": "a retry is a new message, published before the old one is acknowledged (Request.on_retry)",
    "S4": "a task that raises or passes its hard limit is acknowledged, unless task_acks_on_failure or "
    "task_acks_on_timeout is false (Request.on_failure, on_timeout)",
    "S5": "Reject reaches the broker while the message is unacknowledged; without requeue the task fails "
    "(Request.on_failure)",
    "S6": "a revoked or expired message is acknowledged when it is discarded (Request._announce_revoked)",
    "S7": "a lost pool process: FAILURE and an ack, early or late; requeued with late ack and "
    "task_reject_on_worker_lost only (Request.on_failure)",
    "S8": "task_retry_on_worker_lost publishes a new message, up to max_retries, then fails "
    "(Request._retry_worker_lost)",
    "S10": "unknown names and refused content are rejected without requeue, what cannot be decoded is acknowledged "
    "(Consumer.on_unknown_task, on_invalid_task, on_decode_error)",
    "S18": "a task that passes its hard time limit is killed and fails (Request.on_timeout)",
    "S19": "a revoked task is discarded or killed and ends as REVOKED (Request._announce_revoked)",
    "S20": "a cancelled task is marked RETRY, and no message is published (Request._announce_cancelled)",
    "S21": "a retry fails when retries + 1 > max_retries; None has no limit (Task.retry)",
    "S22": "without countdown and eta a retry waits default_retry_delay; a given countdown wins (Task.retry)",
    "S24": "the message of a retry has the same id, and one retry more (Task.signature_from_request)",
    "S26": "autoretry without retry_backoff waits default_retry_delay or retry_kwargs' countdown "
    "(celery.app.autoretry)",
    "S27": "backoff is min(retry_backoff_max, factor x 2^retries) (get_exponential_backoff_interval)",
    "S28": "jitter draws a whole number from 0 to the backoff, after the maximum is applied "
    "(get_exponential_backoff_interval)",
    "S29": "an ETA is absolute, by the sender's clock; one without a time zone is UTC (AMQP.as_task_v2)",
    "S30": "an ETA task is received at once, waits in that worker's timer, and never starts early "
    "(celery.worker.strategy)",
    "S32": "an expired task is discarded, in the queue (RabbitMQ) or by the worker (Celery.send_task)",
    "S33": "what is put back is delivered again as redelivered (kombu Channel._do_restore_message)",
    "S35": "prefetch is multiplier x pool size; 0 is unlimited (worker.components.Consumer)",
    "S36": "each ETA task adds one to the prefetch until it fires (kombu.common.QoS)",
    "S37": "on connection loss unacknowledged deliveries return while their tasks run on "
    "(Consumer.on_connection_error_after_connected)",
    "S39": "Redis: what is unacknowledged for longer than visibility_timeout is delivered again "
    "(kombu QoS.restore_visible)",
    "S41": "apply_async returns when the bytes are written; nobody confirms that a queue took the message "
    "(kombu pyamqp, confirm_publish)",
    "S42": "a warm stop lets running tasks end and returns the others (WorkController.stop)",
    "S43": "a cold stop kills running tasks: early ack lost, late ack requeued (Consumer.cancel_active_requests)",
    "S54": "replace() publishes a new message with the same id (Task.replace)",
    "S56": "deduplication acknowledges a redelivered message whose SUCCESS is stored, and runs nothing (trace_task)",
}

#: Incident: its title, and an issue of celery/celery (or the repository named) where somebody tells of it.
INCIDENTS: dict[str, tuple[str, str]] = {
    "I1": ("Redis: an ETA beyond the visibility timeout runs the task many times", "kombu #337, #2599"),
    "I3": ("Redis: a task longer than the visibility timeout is repeated without end", "#3430, #5935"),
    "I4": ("Redis: what waits behind a long task beyond the visibility timeout runs twice", "#3270, #9339"),
    "I6": ("an early ack loses the task that a killed process runs", "#4354"),
    "I7": ("acks_late, and yet a lost pool process is acknowledged", "#1628"),
    "I8": ("a poison message is redelivered for ever: task_reject_on_worker_lost asks nobody", "#9082"),
    "I10": ("Reject(requeue=True) is a loop at full speed", "#2012"),
    "I11": ("task_acks_on_timeout=False repeats a timed-out task without limit", "#9596"),
    "I28": ("a lost connection delivers a running late-ack task again", "#6951"),
    "I31": ("Redis: a message popped and not yet recorded is gone", "#4354, kombu #305"),
    "I33": ("Redis: without a binding a message for a named exchange is dropped without an error", "kombu #1063"),
    "I34": ("retry_backoff above retry_backoff_max: every delay is the maximum at most", "hypothesis/lms PR #5511"),
    "I35": ("self.retry() ignores retry_backoff and waits default_retry_delay", "packit-service PR #1632"),
    "I58": ("a warm stop has no limit, and the orchestrator's kill ends it", "#2700"),
    "I59": ("a cold stop says RETRY, and nobody retries", "#6793"),
    "I69": ("a rolling deploy discards tasks that the old workers do not know", "airflow #20394, #3582"),
    "I73": ("a malformed message is acknowledged, or ends worker after worker", "#7975"),
}
