"""Which jobs there are: names to definitions. Names come from users' code alone; data imports nothing."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError, InvalidArgument, InvalidJob, UnknownJob, Unserialisable
from callboard.core.job import Job, backoff_setting
from callboard.core.options import JobOptions, did_you_mean, name_of, parse_options, tags_of, text
from callboard.core.runs import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JOBS_MAX: Final = 4_000
"""Limit of registered jobs in one app."""
POLICY_OPTIONS: Final = (
    "queue", "delay", "max_attempts", "timeout", "retry_after", "priority", "unique", "at_most_once", "expires",
    "result_ttl", "tags",
)
"""Options that a class's attributes or the decorator may give."""


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """One registered job.

    Attributes:
        target: the Job subclass, or the function.
        permanent: exception classes after which no further attempt is made.
        retry_method: takes (instance or None, attempt), returns seconds or timedelta; None where a number decides.
        is_async: handle or the function is a coroutine function.
    """

    name: str
    target: Any
    options: JobOptions
    is_class: bool
    is_async: bool
    has_failed_hook: bool
    permanent: tuple[type[BaseException], ...]
    retry_method: Callable[..., Any] | None
    signature: inspect.Signature
    origin: tuple[str, str]

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Bind a call's arguments by name.

        Raises:
            InvalidArgument: Raised when they do not fit the signature.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(f"job {self.name!r}: {error}; it takes {self.signature}", job=self.name) from error
        return dict(bound.arguments)

    def call(self, arguments: dict[str, Any]) -> Any:
        """Run it (a coroutine for an async job, to be awaited)."""
        return self.instance(arguments).handle() if self.is_class else self._call_function(arguments)

    def instance(self, arguments: dict[str, Any]) -> Any:
        """The Job instance with these arguments."""
        return self.target(**arguments)

    def _call_function(self, arguments: dict[str, Any]) -> Any:
        for parameter in self.signature.parameters.values():
            if parameter.kind in _UNUSUAL_KINDS:
                bound = inspect.BoundArguments(self.signature, arguments)
                return self.target(*bound.args, **bound.kwargs)
        return self.target(**arguments)

    def fits(self, arguments: dict[str, Any]) -> bool:
        """Whether these arguments fit the signature."""
        unusual = any(p.kind in _UNUSUAL_KINDS for p in self.signature.parameters.values())
        try:
            if unusual and not self.is_class:
                bound = inspect.BoundArguments(self.signature, arguments)
                self.signature.bind(*bound.args, **bound.kwargs)
            else:
                self.signature.bind(**arguments)
        except TypeError:
            return False
        return True

    def spec(self) -> JobSpec:
        """What others may know of it without running user code."""
        parameters = self.signature.parameters.values()
        options, unique = self.options, self.options.unique
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        return JobSpec(
            name=self.name,
            queue=options.queue or "default",
            fields=tuple(p.name for p in named),
            required=tuple(p.name for p in named if p.default is p.empty),
            max_attempts=options.max_attempts,
            timeout_s=options.timeout_s,
            backoff=options.backoff,
            has_failed_hook=self.has_failed_hook,
            open_ended=any(p.kind is p.VAR_KEYWORD for p in parameters),
            doc=(inspect.getdoc(self.target) or "").partition("\n")[0][:200],
            priority=options.priority or 0,
            delay_s=options.delay_s or 0.0,
            at_most_once=bool(options.at_most_once),
            expires_s=options.expires_s,
            result_ttl_s=options.result_ttl_s,
            tags=options.tags,
            unique=None if unique is None else unique.key,
            unique_until=1 if unique is None else int(unique.holds),
            unique_period_s=None if unique is None else unique.period_s,
        )


_UNUSUAL_KINDS = (
    inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY,
)


class Registry:
    """Names to definitions, filled by Job subclasses and the @job decorator."""

    def __init__(self) -> None:
        """Begin empty."""
        self._jobs: dict[str, JobDefinition] = {}

    def add_class(self, cls: type[Job]) -> JobDefinition:
        """Register a Job subclass.

        Raises:
            InvalidJob: Raised when the name is taken by another class or function.
            InvalidArgument: Raised when a policy attribute is out of range.
        """
        retry: Any = cls.__dict__.get("retry_after", getattr(cls, "retry_after", None))
        definition = JobDefinition(
            name=name_of(cls.__dict__.get("job_name") or cls.__name__, "job name"),
            target=cls,
            options=policy_options({option: getattr(cls, option) for option in POLICY_OPTIONS}),
            is_class=True,
            is_async=inspect.iscoroutinefunction(cls.handle),
            has_failed_hook=cls.failed is not Job.failed,
            permanent=tuple(cls.permanent),
            retry_method=retry if callable(retry) else None,
            signature=inspect.signature(cls),
            origin=(cls.__module__, cls.__qualname__),
        )
        return self._add(definition)

    def add_function(self, function: Callable[..., Any], name: str | None, options: JobOptions,
                     permanent: tuple[type[BaseException], ...], retry_method: Callable[..., Any] | None,
                     ) -> JobDefinition:
        """Register a function. Raises as add_class does."""
        definition = JobDefinition(
            name=name_of(name or function.__name__, "job name"),
            target=function,
            options=options,
            is_class=False,
            is_async=inspect.iscoroutinefunction(function),
            has_failed_hook=False,
            permanent=permanent,
            retry_method=retry_method,
            signature=inspect.signature(function),
            origin=(function.__module__, function.__qualname__),
        )
        return self._add(definition)

    def _add(self, definition: JobDefinition) -> JobDefinition:
        present = self._jobs.get(definition.name)
        if present is not None and present.origin != definition.origin:
            raise InvalidJob(f"two jobs are named {definition.name!r}: {'.'.join(present.origin)} and "
                             f"{'.'.join(definition.origin)}; give one another name (job_name = ... or @job(name=...))")
        if len(self._jobs) >= JOBS_MAX:
            raise InvalidJob(f"more than {JOBS_MAX:,} jobs are registered")
        self._jobs[definition.name] = definition
        return definition

    def find(self, name: str) -> JobDefinition | None:
        """The definition of that name, or None."""
        return self._jobs.get(name)

    def get(self, name: str) -> JobDefinition:
        """The definition of that name.

        Raises:
            UnknownJob: Raised when nobody registered it; says "did you mean" where one is near.
        """
        definition = self._jobs.get(name)
        if definition is None:
            raise UnknownJob(f"no job is named {name!r}{did_you_mean(name, self._jobs)}; is the module that defines it "
                             "imported (--app)?", job=name)
        return definition

    def definition_of(self, job: object) -> JobDefinition:
        """The definition behind a Job instance. Raises UnknownJob."""
        for definition in self._jobs.values():
            if definition.is_class and definition.target is type(job):
                return definition
        raise UnknownJob(f"{type(job).__name__} is not a registered job: derive it from callboard.Job or decorate it "
                         "with @callboard.job", job=job)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._jobs))

    def specs(self) -> tuple[JobSpec, ...]:
        """All specs, by name."""
        return tuple(self._jobs[name].spec() for name in self.names())

    def origins(self) -> frozenset[str]:
        """The modules that define jobs: what a node of the same program has to import."""
        return frozenset(definition.origin[0] for definition in self._jobs.values())


registry = Registry()
"""The process's registry: one process, one app."""


def policy_options(given: Mapping[str, Any]) -> JobOptions:
    """Options from a class's attributes or a decorator's arguments, checked. Raises InvalidArgument."""
    backoff = backoff_setting(given["retry_after"])
    return parse_options({**given, "retry_after": backoff}, allowed=POLICY_OPTIONS, what="a job")


_ELEMENTS_MAX: Final = 1 << 20  # an element takes a byte at least: the limit of bytes is the one that bites


class Body(NamedTuple):
    """What a job's body holds."""

    arguments: dict[str, Any]
    headers: dict[str, str]
    tags: tuple[str, ...]


def encode_body(name: str, arguments: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = (),
                tags: tuple[str, ...] = ()) -> bytes:
    """A job's body: msgpack of {"a": arguments} and, if any, {"h": headers, "t": tags}.

    Raises:
        Unserialisable: Raised when an argument is no plain data, or could not be read back: a dict whose keys are no
            strings.
        PayloadTooLarge: Raised when the body exceeds 1 MiB.
    """
    body: dict[str, Any] = {"a": arguments}
    if headers:
        body["h"] = dict(headers)
    if tags:
        body["t"] = tags
    what = f"the arguments of job {name!r}"
    data = encode(body, what=what)
    if any(isinstance(value, (dict, list, tuple)) for value in arguments.values()):  # other values always come back
        try:
            decode(data, array_max=_ELEMENTS_MAX)
        except CodecError as error:
            raise Unserialisable(f"{what} could not be read back ({error.message}); the keys of a dict must be strings",
                                 cause=error) from error
    return data


def read_body(body: bytes) -> Body:
    """What a body holds.

    Raises:
        CodecError: Raised when it is not a body of ours.
    """
    value: dict[str, Any] | None = _map_of(decode(body, array_max=_ELEMENTS_MAX))
    arguments = None if value is None else _map_of(value.get("a"))
    if value is None or arguments is None:
        raise CodecError("the job's body has no arguments")
    headers = _map_of(value.get("h", {}))
    if headers is None:
        raise CodecError("the job's headers are no map")
    try:
        tags = tags_of(value.get("t"))
        return Body(arguments, {text(k, "header"): str(v) for k, v in headers.items()}, tags)
    except InvalidArgument as error:
        raise CodecError(f"the job's body has a bad header or tag: {error}", cause=error) from error


def decode_body(body: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Arguments and headers of a body. Raises as read_body."""
    arguments, headers, _ = read_body(body)
    return arguments, headers


def _map_of(value: object) -> dict[str, Any] | None:
    """The map that was decoded (its keys are strings: the codec saw to it), or None."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def fields_of(job: Job) -> dict[str, Any]:
    """The arguments of a Job instance."""
    return {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}  # type: ignore[arg-type]  # every subclass is made a dataclass
