"""What the page says of policies from a control plane."""

import pytest

from conftest import PICTURES, watch
from control_plane import ControlPlane
from tollgate import Tollgate


@pytest.fixture
def control_plane():
    running = ControlPlane()
    yield running
    running.kill()


@pytest.fixture
def subscriber(control_plane):
    running = Tollgate(None, "--xds", control_plane.address)
    yield running
    running.close()


def config(domain, key):
    limit = {"unit": "DAY", "requestsPerUnit": 5}
    return {"name": f"config of {domain}", "domain": domain, "descriptors": [{"key": key, "rateLimit": limit}]}


def test_the_page_says_what_is_in_force_from_where(control_plane, subscriber, browser):
    page = watch(browser, subscriber)
    until_text = lambda where, text: page.until(f"document.querySelector('{where}').innerText === {text!r}")
    until_text("#policy-state", "none yet: calls fail")
    assert page.text("#server-state") == "waiting for policies"
    page.until("document.querySelector('#control-plane-state').innerText.includes(', connected since ')")
    control_plane.set("<b>1", config("d", "who"))
    until_text("#policy-state", "version <b>1 in force")
    until_text("#server-state", "ready")
    control_plane.set("2", config("d", ""), config("e", "who"))
    until_text("#policy-state", "version 2, in part; the latest has problems")
    told = page.until("document.querySelector('#rejected').innerText")
    assert "has problems; what is wrong stays as it was." in told and "config of d" in told
    control_plane.kill()
    lost = page.until("document.querySelector('#control-plane-state').innerText.includes('not connected') && document.querySelector('#control-plane-state').innerText")
    assert lost.startswith(f"{control_plane.address}, not connected since ")
    for name, width in [("desktop", 1280), ("phone", 360)]:
        page.size(width, 740)
        assert page.ask("document.documentElement.scrollWidth") <= width
        page.picture(PICTURES / f"test-control-plane-{name}.png")


def test_policies_from_files_have_no_control_plane(page):
    assert page.ask("getComputedStyle(document.querySelector('#control-plane')).display") == "none"
