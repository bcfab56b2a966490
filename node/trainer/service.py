"""Requests in, answers and notices out: everything the worker does, without the channel and the loop around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from . import checkpoint, contribute, messages
from .errors import WorkerError, translated
from .evaluate import mean_loss
from .gates.request import run_gate
from .measuring import measure
from .merging import Candidates
from .modules.making import make_module
from .opening import open_session, read_event
from .round import RoundTraining
from .session import Session
from .start import first_state
from .state import SharedState
from .undoing import overlap


class Service:
    """Holds one session. `handle` answers a request, `step` takes one inner step while `training`."""

    def __init__(self, notify: Callable[[messages.Notice], None]) -> None:
        """`notify` is called with every notice."""
        self._notify = notify
        self._session: Session | None = None
        self._training: RoundTraining | None = None
        self._candidates = Candidates()
        # One entry for each of messages.REQUESTS, each taking its own class.
        self._handlers: dict[str, Callable[[Any], messages.Message]] = {
            "open": self._open, "init": self._init, "load": self._load, "snapshot": self._snapshot, "train": self._train,
            "stop": self._stop, "compress": self._compress, "settle": self._settle, "inspect": self._inspect,
            "merge": self._merge, "adopt": self._adopt, "evaluate": self._evaluate, "gate": self._gate, "save": self._save,
            "merge_changes": self._merge_changes, "undo": self._undo, "overlap": self._overlap,
            "measure": self._measure, "amend": self._amend, "make_module": self._make_module,
        }  # fmt: skip

    @property
    def training(self) -> bool:
        """Whether `step` has something to do."""
        return self._training is not None

    @property
    def session(self) -> Session:
        """The open session. Raises WorkerError("not_open")."""
        if self._session is None:
            raise WorkerError("not_open", "open comes first")
        return self._session

    def handle(self, op: str, fields: dict[str, Any]) -> messages.Message:
        """Do what is asked and return the answer. Raises WorkerError."""
        if op not in messages.REQUESTS:
            raise WorkerError("bad_request", f"no request is called {op[:40]!r}")
        try:
            request = messages.REQUESTS[op][0].model_validate(fields)
        except ValueError as error:
            raise WorkerError("bad_request", f"{op}: {error}") from error
        with translated(op):
            return self._handlers[op](request)

    def step(self) -> None:
        """Take one inner step. What it cannot go on after ends the training with a notice."""
        assert self._training is not None
        try:
            with translated("training"):
                notice = self._training.step()
        except WorkerError as error:
            self._training = None
            self._notify(messages.Failed(code=error.code, text=error.text))
            return
        if self._training.finished:
            self._end_training()
        elif notice is not None:
            self._notify(notice)

    def _end_training(self) -> None:
        if self._training is not None:
            training, self._training = self._training, None
            self._notify(messages.Trained(**training.report()))

    def close(self) -> None:
        """Save what is to be saved."""
        if self._session is not None:
            checkpoint.save(self._session)

    def _open(self, request: messages.Open) -> messages.Opened:
        if self._session is not None:
            raise WorkerError("bad_request", "open comes once")
        session, restored = open_session(request)
        self._session = session
        batches = session.batches
        return messages.Opened(
            layout=session.layout.tensors,
            parameters=session.layout.numel(),
            device=str(session.device),
            bf16=session.bf16,
            samples=batches.samples if batches else 0,
            held_out_samples=batches.held_out_samples if batches else 0,
            tokens_per_sample=session.event.data.block,
            restored=restored,
        )

    def _amend(self, request: messages.Amend) -> messages.Done:
        self._end_training()
        self.session.follow(read_event(request.manifest))
        return messages.Done()

    def _init(self, request: messages.Init) -> messages.State:
        state = first_state(self.session.event, seed=request.seed)
        return self._start_from(state, request.commit, carry=False)

    def _load(self, request: messages.Load) -> messages.State:
        session = self.session
        path, outer = Path(request.path), session.event.outer
        state = SharedState.read(path, session.shapes, outer, request.weights_only)
        return self._start_from(state, request.commit, carry=request.carry)

    def _start_from(self, state: SharedState, commit: bytes | None, *, carry: bool) -> messages.State:
        self._end_training()
        state_hash = state.hash()
        if state_hash == self.session.base_hash:
            self.session.commit = commit or self.session.commit
        else:
            self.session.restart_from(state, state_hash, commit, carry=carry)
        return messages.State(state=state_hash)

    def _snapshot(self, request: messages.Snapshot) -> messages.Written:
        path = Path(request.path)
        self.session.require_base().write(path, request.weights_only)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        return messages.Written(sha256=digest, size=path.stat().st_size, state=self.session.base_hash)

    def _train(self, request: messages.Train) -> messages.Done:
        self._end_training()
        self._training = RoundTraining(self.session, request)
        if self._training.finished:
            self._end_training()
        return messages.Done()

    def _stop(self, request: messages.Stop) -> messages.Done:
        self._end_training()
        return messages.Done()

    def _compress(self, request: messages.Compress) -> messages.Compressed:
        self._end_training()
        return contribute.compress(self.session, request)

    def _settle(self, request: messages.Settle) -> messages.Done:
        contribute.settle(self.session, request)
        return messages.Done()

    def _inspect(self, request: messages.Inspect) -> messages.Inspected:
        return contribute.inspect(self.session, request)

    def _merge(self, request: messages.Merge) -> messages.Merged:
        return self._candidates.merge(self.session, request)

    def _merge_changes(self, request: messages.MergeChanges) -> messages.Merged:
        return self._candidates.merge_changes(self.session, request)

    def _undo(self, request: messages.Undo) -> messages.Merged:
        return self._candidates.undo(self.session, request)

    def _overlap(self, request: messages.Overlap) -> messages.Overlaps:
        return overlap(self.session, request)

    def _measure(self, request: messages.Measure) -> messages.Measured:
        return measure(self.session, request)

    def _adopt(self, request: messages.Adopt) -> messages.State:
        self._end_training()
        return messages.State(state=self._candidates.adopt(self.session, request))

    def _evaluate(self, request: messages.Evaluate) -> messages.Evaluated:
        session = self.session
        batches = session.require_batches()
        samples = min(request.samples or session.event.data.held_out_samples, batches.held_out_samples)
        if not samples:
            raise WorkerError("no_data", "the event's data has no held-out block: raise data.held_out")
        held_out = batches.held_out(samples, session.loop.micro_batch)
        loss, tokens = mean_loss(session.model, held_out, self._weights(request), session.bf16)
        return messages.Evaluated(loss=loss, tokens=tokens, samples=samples)

    def _weights(self, request: messages.Evaluate) -> dict[str, Tensor] | None:
        """Return the weights to evaluate, None for the local ones."""
        base = self.session.require_base()
        if request.of == "candidate":
            return self._candidates.get(request.key).state.weights
        return base.weights if request.of == "base" else None

    def _gate(self, request: messages.RunGate) -> messages.GateRun:
        return run_gate(self.session, self._candidates, request)

    def _make_module(self, request: messages.MakeModule) -> messages.MadeModule:
        return make_module(self.session, self._candidates, request)

    def _save(self, request: messages.Save) -> messages.Done:
        self.session.require_base()
        self.session.commit = request.commit or self.session.commit
        checkpoint.save(self.session)
        return messages.Done()


