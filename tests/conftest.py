"""For all tests: pytester, and the plugin itself where tasksim is on the path but not installed."""

from importlib.metadata import entry_points

pytest_plugins = ["pytester"]
if "tasksim" not in entry_points(group="pytest11").names:
    pytest_plugins.append("tasksim.pytest_plugin")
