"""The same test on several brokers, and the rules that a test assumes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasksim.errors import UsageError
from tasksim.pytest_brokers import combinations, name_of
from tasksim.rules import Rules


def names(result) -> list[str]:
    """What stands in brackets after each test that was run."""
    return re.findall(r"::test_\w+\[(.*?)\]", result.stdout.str())


def test_a_test_runs_on_each_broker_under_its_rules(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from own import add

        @pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"])
        def test_sum(sim, request):
            assert add.delay(1, 2).get() == 3
            name = request.node.callspec.id
            assert sim.rules.server == {"amqp": "rabbitmq", "redis": "redis"}[name]
            assert bool(sim.trace.where("Connected", server="rabbitmq")) is (name == "amqp")

        @pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"])
        def test_without_asking_for_the_fixture():
            assert add.delay(1, 2).get() == 3
        """
    )
    result = run("-v", "--tasksim-seed=3")
    result.assert_outcomes(passed=4)
    assert names(result) == ["amqp", "redis"] * 2


def test_versions_belong_to_their_server(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"], rabbitmq=["3.13", "4.1"])
        @pytest.mark.parametrize("number", [1, 2])
        def test_versions(sim, number, request):
            expected = {"amqp-3.13": "RabbitMQ 3.13", "amqp-4.1": "RabbitMQ 4.1", "redis": "Redis 7.2"}
            assert str(sim.rules) == expected[request.node.callspec.id.partition("-")[2]]

        @pytest.mark.tasksim(app="own:app", rabbitmq=["3.13", "4.1"])
        def test_the_apps_own_broker(sim, request):
            assert f"rabbitmq-{sim.rules.version}" == request.node.callspec.id
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=8)
    assert sorted(names(result)) == sorted(
        [f"{number}-{name}" for number in (1, 2) for name in ("amqp-3.13", "amqp-4.1", "redis")]
        + ["rabbitmq-3.13", "rabbitmq-4.1"]
    )


def test_the_closest_marker_may_choose_one_broker_again(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"])

        def test_both(sim): pass

        @pytest.mark.tasksim(broker="redis://")
        def test_redis(sim): assert str(sim.rules) == "Redis 7.2"

        def test_no_simulation_is_asked_for_and_there_is_one_all_the_same(request):
            assert "sim" in request.fixturenames
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=5)


def test_a_broker_of_several_whose_rules_are_not_assumed_is_skipped_with_the_reason(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"], rabbitmq=["3.13", "4.1"])

        @pytest.mark.tasksim(assumes="redis")
        def test_redis(sim): assert sim.rules.server == "redis"

        @pytest.mark.tasksim(assumes=["redis", "rabbitmq>=4"])
        def test_new(sim): assert str(sim.rules) in ("Redis 7.2", "RabbitMQ 4.1")
        """
    )
    result = run("-rs")
    result.assert_outcomes(passed=3, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "SKIPPED*assumes redis, and the broker follows the rules of RabbitMQ 3.13",
            "SKIPPED*assumes redis or rabbitmq>=4, and the broker follows the rules of RabbitMQ 3.13",
        ]
    )


def test_a_test_of_one_broker_that_would_never_run_is_an_error(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tasksim(app="own:app", assumes="redis")
        def test_redis(sim): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*UsageError: this test assumes redis, and its broker follows the rules of RabbitMQ 4.1, so it would "
            'never run. Name the broker in the marker (broker="redis://"), or several of which those that fit are run'
        ]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("broker=[]", 'broker=[[]]: write a list of text, such as [[]"amqp://", "redis://"]'),
        ('broker=["amqp://", 3]', "broker=[[]'amqp://', 3]: write a list of text*"),
        ('broker=["redis://", "redis://"]', "broker=*: a value stands there twice"),
        ('broker="redis://", rabbitmq=["3.13", "4.1"]', "rabbitmq=[[]...]: the broker 'redis://' is of another kind"),
        ('rabbitmq=["3.13", "new"]', "*UsageError: rabbitmq='new': give a version, such as \"4.1\""),
        ('broker=["amqp://", "sqs://"]', "*UnsupportedError: the broker sqs:// is not simulated; give one*"),
        ('assumes="kafka"', '*UsageError: \'kafka\' names no rules; write "redis" or "rabbitmq", with a version*'),
    ],
)
def test_what_makes_no_sense_is_told_with_what_would(run, pytester, options, said):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.tasksim(app="own:app", {options})
        def test_it(sim): pass
        """
    )
    result = run()
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{said}*"])
    assert "_tasksim_broker" not in result.stdout.str()


def test_several_brokers_in_a_unittest_case_or_in_the_fixture_are_told_where_they_go(run, pytester):
    pytester.makepyfile(
        """
        import unittest

        import pytest

        @pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"])
        class TestOld(unittest.TestCase):
            def test_it(self): pass

        class TestFixture:
            @pytest.fixture
            def tasksim_options(self):
                return {"broker": ["amqp://"]}

            @pytest.mark.tasksim(app="own:app")
            def test_it(self): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "E*UsageError: broker=[[]...]: a method of unittest.TestCase cannot be run several times by pytest*",
            "E*UsageError: broker=[[]...] in the fixture `tasksim_options`: give one value; several stand in*",
        ]
    )


def test_xdist_and_the_line_that_repeats_one_broker(run, pytester):
    pytester.makepyfile(
        """
        import pytest
        from own import add

        @pytest.mark.tasksim(app="own:app", broker=["amqp://", "redis://"])
        @pytest.mark.parametrize("number", range(3))
        def test_sum(sim, number):
            assert add.delay(number, 2).get() == number + 2
            assert (number, sim.rules.server) != (2, "redis")
        """
    )
    result = run("-p", "xdist", "-n2", "--tasksim-seed=6", subprocess=True)
    result.assert_outcomes(passed=5, failed=1)
    line = "seed 6, again: pytest '*.py::test_sum[[]2-redis]' --tasksim-seed=6"
    result.stdout.fnmatch_lines([line])
    path = next(one for one in result.outlines if "again: pytest" in one).split("'")[1]
    again = run(path, "--tasksim-seed=6")
    again.assert_outcomes(failed=1)


URLS = st.lists(st.sampled_from(["amqp://", "redis://", "pyamqp://u:secret@h//", "rediss://:secret@h"]), unique=True)
VERSIONS = st.lists(st.sampled_from(["3.13", "4.0", "4.1"]), unique=True, min_size=1)


@given(URLS.filter(bool), VERSIONS, VERSIONS)
def test_each_broker_has_each_of_its_versions_once_and_its_name_keeps_secrets(urls, rabbitmq, redis):
    found = combinations({"broker": urls, "rabbitmq": rabbitmq, "redis": redis})
    for url in urls:
        own, other = (redis, "rabbitmq") if url.startswith("redis") else (rabbitmq, "redis")
        mine = [one for one in found if one["broker"] == url]
        assert [one.get("rabbitmq") or one.get("redis") for one in mine] == own
        assert all(other not in one for one in mine)
    assert len({name_of(one) for one in found}) == len(found)
    assert not any("secret" in name_of(one) for one in found)


@given(st.integers(0, 9), st.integers(0, 20), st.integers(0, 9), st.integers(0, 20))
def test_versions_compare_as_numbers(major, minor, other_major, other_minor):
    rules = Rules("rabbitmq", f"{major}.{minor}")
    other = f"{other_major}.{other_minor}"
    assert rules.are(f"rabbitmq>={other}") is ((major, minor) >= (other_major, other_minor))
    assert rules.are(f"rabbitmq < {other}") is ((major, minor) < (other_major, other_minor))
    assert rules.are(f"rabbitmq=={major}") is (minor == 0)
    assert not rules.are(f"redis>={other}")


@pytest.mark.parametrize("assumed", ["kafka", "", "redis>", "redis>=x", [], ["redis", "kafka"], 4])
def test_what_names_no_rules_is_refused_also_beside_what_does(assumed):
    with pytest.raises(UsageError, match="names no rules"):
        Rules("redis", "7.2").are(assumed)
