"""Threads that want the same done at the same time have it done together: a group commit.

Who comes alone is served at once and waits for nobody. Who comes while others are being served joins those that wait,
and they are the next group: the first of them leads, does the work for all in its own thread, and hands each its
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")


class Deserted(Exception):
    """The thread that did the work for this one was stopped in the middle. Whether it was done cannot be known."""


class _Turn(Generic[Wish, Answer]):
    """One thread's wish, and what became of it."""

    __slots__ = ("answer", "call", "error", "leads", "wish")

    answer: Answer

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.leads = False
        self.error: Exception | None = None
        self.call = Lock()  # opened by another thread: this one is served, or leads
        self.call.acquire()

    def outcome(self) -> Answer:
        if self.error is not None:
            raise self.error
        return self.answer


class FrontDesk(Generic[Wish, Answer]):
    """`serve` does what up to `most` wish, and answers each in their order; what it raises is raised to each."""

    def __init__(self, serve: Callable[[Sequence[Wish]], Sequence[Answer]], *, most: int) -> None:
        self._serve = serve
        self._most = most
        self._lock = Lock()  # of the next two; held for moments
        self._waiting: list[_Turn[Wish, Answer]] = []
        self._is_led = False

    def ask(self, wish: Wish) -> Answer:
        """The answer to this wish, which may be served with others'. Raises Deserted, and what `serve` raises."""
        turn = self._enter(wish)
        if not turn.leads:
            self._await(turn)
        if turn.leads:
            self._lead()
        return turn.outcome()

    def _enter(self, wish: Wish) -> _Turn[Wish, Answer]:
        turn: _Turn[Wish, Answer] = _Turn(wish)
        with self._lock:
            self._waiting.append(turn)
            if not self._is_led:
                self._is_led = turn.leads = True
        return turn

    def _await(self, turn: _Turn[Wish, Answer]) -> None:
        try:
            turn.call.acquire()
        except BaseException:  # a signal, say; it goes, and takes the lead of nobody with it
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                if turn.leads:
                    self._call_next()
            raise

    def _lead(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._answer(group)
        finally:
            with self._lock:
                self._call_next()
            for turn in group:
                turn.call.release()

    def _answer(self, group: Sequence[_Turn[Wish, Answer]]) -> None:
        try:
            answers = self._serve([turn.wish for turn in group])
            for turn, answer in zip(group, answers, strict=True):
                turn.answer = answer
        except BaseException as error:  # whatever it is, nobody is left waiting
            for turn in group:
                turn.error = error if isinstance(error, Exception) else Deserted()
            if not isinstance(error, Exception):
                raise

    def _call_next(self) -> None:
        """The first that waits leads the next group, in which are all who have come until it begins."""
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].call.release()
        else:
            self._is_led = False
