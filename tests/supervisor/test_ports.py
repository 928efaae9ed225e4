from __future__ import annotations

import contextlib
import json
import socket
import sys

import pytest

from modeldeploy.errors import NoFreePort, PortTaken
from modeldeploy.supervisor.ports import PortPool


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def someone_listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 0.2):
        return True
    return False


@pytest.fixture
def pool() -> PortPool:
    port = free_port()
    return PortPool(port, port)


def test_a_reserved_port_is_refused_to_strangers_and_to_clients(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    try:
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", pool.low))
        assert not someone_listens("127.0.0.1", pool.low)
    finally:
        reservation.close()


def test_connections_wait_while_nobody_serves_and_reach_the_replacement(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    try:
        first = reservation.listen().dup()
        first.close()  # the worker died
        with socket.create_connection(("127.0.0.1", pool.low), timeout=5) as client:
            second = reservation.listen().dup()
            accepted, _ = second.accept()
            accepted.sendall(b"hello")
            assert client.recv(5) == b"hello"
            accepted.close()
            second.close()
    finally:
        reservation.close()


def test_refuse_keeps_the_port_and_turns_clients_away(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    try:
        reservation.listen()
        reservation.refuse()
        assert not someone_listens("127.0.0.1", pool.low)
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", pool.low))
    finally:
        reservation.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a socket can be shut first")
def test_who_came_before_it_was_shut_is_heard_and_nobody_comes_after(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    worker = reservation.listen().dup()
    try:
        with socket.create_connection(("127.0.0.1", pool.low), timeout=5) as client:
            reservation.refuse()
            assert not someone_listens("127.0.0.1", pool.low), "though the worker still listens"
            client.sendall(b"hello")
            accepted, _ = worker.accept()
            with accepted:
                assert accepted.recv(5) == b"hello"
                accepted.sendall(b"yes")
            assert client.recv(3) == b"yes"
        worker.setblocking(False)
        with pytest.raises(BlockingIOError):
            worker.accept()
    finally:
        worker.close()
        reservation.close()


def test_a_port_of_a_stranger_is_skipped_and_an_empty_pool_says_so(pool: PortPool) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", pool.low))
        stranger.listen()
        with pytest.raises(PortTaken):
            pool.reserve(pool.low)
        with pytest.raises(NoFreePort, match=str(pool.low)):
            pool.reserve_any(None, ())


@pytest.mark.promise(8, fault="a stranger binds with SO_REUSEPORT")
def test_a_stranger_who_shares_ports_is_still_a_stranger(pool: PortPool) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", pool.low))
        stranger.listen()
        with pytest.raises(PortTaken):
            pool.reserve(pool.low)


def test_the_remembered_port_is_preferred_and_ours_are_left_alone() -> None:
    low = free_port()
    pool = PortPool(low, min(low + 50, 65535))
    first = pool.reserve_any(low, ())
    second = pool.reserve_any(None, {low, low + 1})
    try:
        assert first.port == low
        assert second.port > low + 1
    finally:
        first.close()
        second.close()


def test_no_other_supervisor_gets_a_reservation_in_any_state(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    worker = None
    try:
        for state in ("bound", "listening", "refusing beside its worker", "refusing alone"):
            if state == "listening":
                worker = reservation.listen().dup()
            elif state == "refusing beside its worker":
                reservation.refuse()
            elif worker:
                worker.close()
            with pytest.raises(PortTaken):
                PortPool(pool.low, pool.low).reserve(pool.low)
            with socket.socket() as stranger:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    stranger.bind(("127.0.0.1", pool.low))
    finally:
        reservation.close()


def test_remembered_ports_are_taken_last_and_do_not_empty_the_pool(pool: PortPool) -> None:
    reservation = pool.reserve_any(None, {pool.low})
    try:
        assert reservation.port == pool.low
        with pytest.raises(NoFreePort):
            pool.reserve_any(None, ())
    finally:
        reservation.close()


def test_a_port_can_be_claimed_again_behind_fading_connections(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    worker = reservation.listen().dup()
    with socket.create_connection(("127.0.0.1", pool.low), timeout=5) as client:
        accepted, _ = worker.accept()
        accepted.close()  # the server closes first: its end stays in TIME_WAIT
        client.recv(1)
    worker.close()
    reservation.close()
    pool.reserve(pool.low).close()


def test_a_reservation_can_be_taken_back_beside_a_live_worker(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    worker = reservation.listen().dup()
    reservation.close()  # the supervisor died
    again = pool.readopt(pool.low, None)
    try:
        with socket.create_connection(("127.0.0.1", pool.low), timeout=5):
            accepted, _ = worker.accept()
            accepted.close()
    finally:
        worker.close()
        again.close()


def test_a_listener_that_the_worker_gives_is_the_reservation_again(pool: PortPool) -> None:
    reservation = pool.reserve(pool.low)
    worker = reservation.listen().dup()
    reservation.close()  # the supervisor died
    again = pool.readopt(pool.low, worker.dup())
    worker.close()  # and then the worker
    try:
        with socket.create_connection(("127.0.0.1", pool.low), timeout=5):
            accepted, _ = again.listen().accept()
            accepted.close()
    finally:
        again.close()


def test_a_listener_of_another_port_is_not_taken_for_ours(pool: PortPool) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        reservation = pool.readopt(pool.low, other)
        try:
            assert reservation.listen().getsockname() == ("127.0.0.1", pool.low)
        finally:
            reservation.close()


@pytest.mark.promise(3, fault="a deployment is stopped while newcomers wait for its restart")
@pytest.mark.parametrize("said", [b"POST /predict HTTP/1.1\r\nhost: localhost\r\n\r\n", b""])
def test_who_waits_where_nobody_will_serve_is_told_so(pool: PortPool, said: bytes) -> None:
    reserved = pool.reserve_any(None, ())
    reserved.listen()
    with socket.create_connection((reserved.host, reserved.port), 5) as client:
        client.sendall(said)
        reserved.turn_away()
        reserved.close()
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in head
    assert json.loads(body)["error"]["code"] == "not_ready"
    assert f"content-length: {len(body)}".encode() in head
