"""The fixture `sim`: which app, which options."""

import pytest


def test_the_app_may_be_named_in_the_ini_file(run, pytester):
    pytester.makeini("[pytest]\ntasksim_app = own:app\npythonpath = .\n")
    pytester.makepyfile(
        """
        def test_sum(sim):
            from own import add
            assert add.delay(1, 2).get() == 3
        """
    )
    run().assert_outcomes(passed=1)


def test_the_app_may_be_made_by_the_overridden_fixture(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from celery import Celery

        @pytest.fixture
        def tasksim_app():
            app = Celery("made", broker="amqp://", backend="redis://")

            @app.task(name="answer", shared=False)
            def answer():
                return 42

            return app

        def test_answer(sim, tasksim_app):
            assert tasksim_app.tasks["answer"].delay().get() == 42
        """
    )
    run().assert_outcomes(passed=1)


def test_the_app_of_the_marker_wins_over_the_ini_file(run, pytester):
    pytester.makeini("[pytest]\ntasksim_app = nowhere:app\n")
    pytester.makepyfile(
        """
        import pytest
        from own import app, add

        @pytest.mark.tasksim(app=app)
        def test_by_name():
            assert add.delay(1, 2).get() == 3

        @pytest.mark.tasksim("own:app")
        def test_by_position():
            assert add.delay(1, 2).get() == 3
        """
    )
    run().assert_outcomes(passed=2)


def test_without_an_app_the_error_says_what_to_write(run, pytester):
    pytester.makepyfile("def test_nothing(sim): pass")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E*UsageError: the fixture `sim` needs a Celery app. Name it in the ini file*"])


def test_an_unknown_option_is_named_with_those_that_there_are(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tasksim(app="own:app", worker=2)
        def test_nothing(sim): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E*UsageError: the marker `tasksim` does not take worker; it takes: app, workers,*"])


def test_markers_and_options_are_merged_and_the_closest_wins(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.tasksim(app="own:app", workers=1, concurrency=3)

        @pytest.fixture
        def tasksim_options():
            return {"workers": 4, "seed": 9}

        @pytest.mark.tasksim(workers=2)
        class TestMerged:
            def test_of_class(self, sim):
                sim.advance(0)
                assert list(sim.workers) == ["w1", "w2"]
                assert len(sim.workers["w1"].children) == 3

            @pytest.mark.tasksim(workers=["a"])
            def test_of_function(self, sim):
                sim.advance(0)
                assert list(sim.workers) == ["a"]
        """
    )
    run().assert_outcomes(passed=2)


def test_the_marker_alone_asks_for_the_fixture_after_all_others(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def other(request):
            assert "sim" not in request.node.funcargs
            yield

        @pytest.mark.tasksim(app="own:app")
        @pytest.mark.parametrize("number", [1, 2])
        def test_names(request, other, number):
            assert request.fixturenames.index("sim") > request.fixturenames.index("other")
            assert request.fixturenames.count("sim") == 1
        """
    )
    run().assert_outcomes(passed=2)


@pytest.mark.parametrize(("arguments", "seed"), [((), 0), (("--tasksim-seed=5",), 5)])
def test_the_seed_of_the_session_is_that_of_the_simulation(run, pytester, arguments, seed):
    pytester.makepyfile(
        f"""
        import random

        import pytest

        @pytest.mark.tasksim(app="own:app")
        def test_session(sim):
            assert sim.seed == {seed}

        @pytest.mark.tasksim(app="own:app", seed=8)
        def test_pinned(sim):
            assert sim.seed == 8
        """
    )
    run(*arguments).assert_outcomes(passed=2)


def test_unittest_cases_may_carry_the_marker(run, pytester):
    pytester.makepyfile(
        """
        import unittest

        import pytest
        from own import add

        @pytest.mark.tasksim(app="own:app")
        class TestSum(unittest.TestCase):
            def test_sum(self):
                self.assertEqual(add.delay(1, 2).get(), 3)

            def test_failing(self):
                self.fail("on purpose")
        """
    )
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["seed 0, again: pytest *::TestSum::test_failing --tasksim-seed=0"])


def test_xdist_runs_simulations_side_by_side(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from own import add

        @pytest.mark.tasksim(app="own:app")
        @pytest.mark.parametrize("number", range(4))
        def test_sum(number):
            assert add.delay(number, 2).get() == number + 2

        @pytest.mark.tasksim(app="own:app")
        def test_failing(sim):
            assert add.delay(1, 2).get() == 4
        """
    )
    result = run("-p", "xdist", "-n2", "--tasksim-seed=6", subprocess=True)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["seed 6, again: pytest *::test_failing --tasksim-seed=6"])
