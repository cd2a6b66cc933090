"""What the page says where something is wrong."""

import socket

from conftest import PICTURES, POLICY, explained, watch
from tollgate import write_policy


def test_a_refused_policy_is_told_with_the_reason_until_it_is_repaired(start, browser):
    server, file = start()
    page = watch(browser, server)
    assert page.ask("document.querySelector('#rejected').hidden")
    wrong = POLICY.replace("per_day: 5", "per_dya: 5").replace("domain: d", "domain: <b>d</b>")
    write_policy(file.parent, wrong, file.name)
    server.hang_up()
    told = page.until("document.querySelector('#rejected').innerText.includes('per_dya') && document.querySelector('#rejected').innerText")
    assert "was rejected; the previous one stays in force." in told
    assert "policy.yaml:8:" in told, "where it is"
    assert page.text("#policy-state") == "running previous policy; latest was rejected"
    for name, width in [("desktop", 1280), ("phone", 360)]:
        page.size(width, 740)
        assert page.ask("document.documentElement.scrollWidth") <= width
        page.picture(PICTURES / f"test-refused-{name}.png")
    # What is decided and explained is the one before.
    assert explained(page, who="acme", kind="small").startswith("Would be admitted")
    write_policy(file.parent, POLICY, file.name)
    server.hang_up()
    page.until("document.querySelector('#rejected').hidden")
    assert page.text("#policy-state") == "in force"
    assert page.text("#rejected") == ""


def test_a_server_that_stops_says_so_and_the_next_in_its_place_is_found(start, browser):
    server, _ = start("--drain-delay", "60s")
    page = watch(browser, server)
    assert page.text("#server-state") == "ready"
    server.terminate()
    page.until("document.querySelector('#server-state').innerText === 'stopping: accepts no new calls'")
    assert page.text("#connection") == "Live"
    # Told twice, it does not wait.
    server.terminate()
    assert server.wait() == 0
    lost = page.until("!document.querySelector('#lost').hidden && document.querySelector('#lost').innerText")
    assert lost.startswith("Lost the server at ")
    assert page.ask("document.title") == "Lost – tollgate"
    assert page.ask("getComputedStyle(document.querySelector('#states')).opacity") == "0.5", "what it last said"
    page.picture(PICTURES / "test-lost.png")
    assert explained(page, who="acme") == "The server did not answer."
    start(http=server.http_address)
    page.until("document.querySelector('#connection').textContent === 'Live'")
    assert page.ask("document.querySelector('#lost').hidden && document.title === 'tollgate'")
    assert page.text("#server-state") == "ready"
    assert explained(page, who="acme").startswith("Would be admitted")


def test_a_page_for_which_there_is_no_place_says_so_and_waits_for_one(server, browser):
    host, port = server.http_address.split(":")
    others = [socket.create_connection((host, int(port))) for _ in range(16)]
    for other in others:
        other.sendall(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert other.recv(15) == b"HTTP/1.1 200 OK"
    browser.open(f"http://{server.http_address}/")
    told = browser.until("document.querySelector('#lost').innerText.includes('too many pages') && document.querySelector('#lost').innerText")
    assert told.startswith("The server is up, but too many pages are open")
    for other in others:
        other.close()
    browser.until("document.querySelector('#connection').textContent === 'Live'")
    assert browser.ask("document.querySelector('#lost').hidden")
