"""A wire between a worker and its SMTP server that can lose exactly one thing: the final dot, or the reply to it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import StrEnum

DOT = b"\r\n.\r\n"


class Loses(StrEnum):
    NOTHING = "nothing"
    DOT = "dot"  # held until `let_go`, or until an end hangs up
    REPLY = "reply"  # for good


class CutWire:
    """Listens on `port`. `at_dot`: a client has written its dot into a wire that loses something. `replied`: the answer
    to such a dot was delivered."""

    def __init__(self, to: int) -> None:
        self.loses = Loses.NOTHING
        self.at_dot, self.replied = threading.Event(), threading.Event()
        self._let_go = threading.Event()
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def let_go(self) -> None:
        """Deliver the dot that was held."""
        self._let_go.set()

    def close(self) -> None:
        self._let_go.set()
        for end in self._sockets:
            _hang_up(end)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                has_dot = threading.Event()
                self._start(self._carry_mail, client, server, has_dot)
                self._start(self._carry_replies, server, client, has_dot)

    def _start(self, carry, *ends) -> None:
        thread = threading.Thread(target=carry, args=ends)
        self._threads.append(thread)
        thread.start()

    def _carry_mail(self, client: socket.socket, server: socket.socket, has_dot: threading.Event) -> None:
        last = b""
        with suppress(OSError):
            while data := client.recv(65536):
                last = (last + data)[-len(DOT) :]
                if last == DOT and self.loses is not Loses.NOTHING:
                    has_dot.set()
                    self._pass_the_dot(client, server, data)
                else:
                    server.sendall(data)
        _hang_up(server)

    def _pass_the_dot(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        is_held = self.loses is Loses.DOT
        server.sendall(data[:-3] if is_held else data)
        self.at_dot.set()
        while is_held and not self._let_go.wait(0.02):
            client.setblocking(False)
            with suppress(BlockingIOError):
                if not client.recv(1, socket.MSG_PEEK):
                    return  # hung up: its dot never came
            client.setblocking(True)
        client.setblocking(True)
        if is_held:
            server.sendall(data[-3:])

    def _carry_replies(self, server: socket.socket, client: socket.socket, has_dot: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if not (has_dot.is_set() and self.loses is Loses.REPLY):
                    client.sendall(data)
                    if has_dot.is_set():
                        self.replied.set()
        _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
