"""What pytest loads by itself (the entry point `pytest11`): only a word to load the plugin.

pytest knows this module as `tasksim`, and the plugin by its own name. So `-p no:tasksim` switches it off, and who asks
for it a second time, with `-p tasksim.pytest_plugin` or `pytest_plugins`, gets the one that is there.
"""

pytest_plugins = ["tasksim.pytest_plugin"]
