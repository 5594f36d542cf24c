"""The composition root: the only module that wires. Everything else gets its collaborators handed in.

``Engine.__init__`` is long on purpose: it is the list of who gets whom, with nothing decided in between.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import structlog

from hatchet import __version__
from hatchet.engine.bulk import Bulk
from hatchet.engine.bus import Bus
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.component import Component, Loop
from hatchet.engine.control import Control
from hatchet.engine.crons import Crons
from hatchet.engine.dispatch import Dispatch
from hatchet.engine.durable import Durable
from hatchet.engine.durable_around import DurableAround
from hatchet.engine.durable_records import DurableRecords
from hatchet.engine.durable_streams import DurableStreams
from hatchet.engine.durable_waits import DurableWaits
from hatchet.engine.durable_writes import DurableWrites
from hatchet.engine.endings import Endings
from hatchet.engine.event_reading import EventReading
from hatchet.engine.event_triggers import EventTriggers
from hatchet.engine.events import Events
from hatchet.engine.evicting import Evicting
from hatchet.engine.filters import Filters
from hatchet.engine.identity import Tokens
from hatchet.engine.inputs import Inputs
from hatchet.engine.keyfile import load
from hatchet.engine.leases import LeaseKeeper
from hatchet.engine.log_reading import LogReading
from hatchet.engine.lookup import Lookup
from hatchet.engine.memory import Flights, Owners, PayloadCache
from hatchet.engine.open_runs import OpenRuns
from hatchet.engine.owner_questions import OwnerQuestions
from hatchet.engine.ownership import Ownership
from hatchet.engine.passwords import Passwords
from hatchet.engine.pausing import Pausing
from hatchet.engine.people import People
from hatchet.engine.publish import Results
from hatchet.engine.queue_stats import QueueStats
from hatchet.engine.rate_limits import RateLimiting
from hatchet.engine.reading import Reading
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.registration import Registration
from hatchet.engine.replay import Replay
from hatchet.engine.report import Reports
from hatchet.engine.run_book import RunBook
from hatchet.engine.run_events import RunEvents
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.run_views import RunViews
from hatchet.engine.schedule import TenantScheduler
from hatchet.engine.scheduled_runs import ScheduledRuns
from hatchet.engine.schedules import Schedules
from hatchet.engine.seed import seed
from hatchet.engine.sessions import LIFETIME_SECONDS, Sessions, signing_keys
from hatchet.engine.sweep import FlightSweep
from hatchet.engine.task_logs import TaskLogs
from hatchet.engine.task_notes import TaskNotes
from hatchet.engine.tenants import Tenants
from hatchet.engine.trigger import Trigger
from hatchet.engine.upkeep import Upkeep
from hatchet.engine.verdicts import Verdicts
from hatchet.engine.watch import Watch
from hatchet.engine.why import Why
from hatchet.engine.worker_use import WorkerUses
from hatchet.engine.workers import FLUSH_SECONDS, Workers
from hatchet.engine.workflow_removal import WorkflowRemoval
from hatchet.grpc.server import GrpcServer
from hatchet.grpc.services import grpc_services
from hatchet.grpc.tls import server_credentials
from hatchet.postgres.server import EmbeddedPostgres
from hatchet.rest.app import build_app
from hatchet.rest.cookies import SessionCookie
from hatchet.rest.health import Health, build_health_app
from hatchet.rest.http_server import HttpServer
from hatchet.rest.ports import About, Services
from hatchet.rest.request_limits import RequestLimits
from hatchet.settings import Settings
from hatchet.store.leases import HeldLease, release_all
from hatchet.store.migrations import migrate
from hatchet.store.pool import Database
from hatchet.store.workers_read import WorkersRead
from hatchet.store.workflows_read import WorkflowsRead
from hatchet.wiring import key_source, seed_values, sign_in_rules

log = structlog.stdlib.get_logger("hatchet.server")

STOP_GRACE_SECONDS = 10.0
HOT_CONNECTIONS = 6
"""Triggers and results keep one each, durable logs two; child runs, events, what follows from runs share the others."""
RELAXED_CONNECTIONS = 3
"""Assignments keep one; starts, heartbeats and sessions share the others."""
FEWEST_READERS = 2


class Server:
    """One engine instance: all roles in one process, one database, any number of such processes beside it.

    After :meth:`start`: ``grpc_address`` (host:port as tokens name it), ``server_url``, ``health_port`` (None when
    switched off), ``dsn`` of the database, ``default_tenant_id``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._tokens: Tokens | None = None
        self._health: Health | None = None
        self.grpc_address = ""
        self.server_url = ""
        self.health_port: int | None = None
        self.dsn = ""
        self.default_tenant_id = settings.default_tenant_id

    async def start(self) -> None:
        """Start everything, in order; returns when the server is ready. A failure leaves nothing running.

        Raises HatchetError with a paragraph that says what to do (a port in use, a database that does not answer, …).
        """
        try:
            await self._start()
        except BaseException:
            await self.stop(grace=0)
            raise

    async def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """Stop everything in reverse; what was acknowledged stays, workers reconnect elsewhere."""
        if self._health is not None:
            self._health.begin_shutdown()
        while self._stops:
            name, stop = self._stops.pop()
            try:
                await asyncio.wait_for(stop(), max(grace, 1.0) + 5.0)
            except Exception as error:
                log.warning("a part did not stop cleanly", part=name, error=f"{type(error).__name__}: {error}")

    async def _start(self) -> None:
        settings = self._settings
        if settings.message_queue != "postgres":
            log.warning("SERVER_MSGQUEUE_KIND has no effect in this version: instances talk over PostgreSQL")
        self.dsn = await self._open_postgres()
        await migrate(self.dsn)
        database, hot, relaxed = await self._open_database()
        clock, ids = DatabaseClock(), UuidIds()
        await clock.measure(database)
        await seed(database, seed_values(settings), clock=clock, ids=ids)
        await self._start_part(
            "upkeep", Upkeep(database, clock, settings.retention_seconds if settings.data_retention else None)
        )
        grpc_port = settings.grpc_port or _free_port(settings.grpc_bind_address)
        http_port = settings.port or _free_port(settings.grpc_bind_address)
        self.grpc_address = settings.broadcast_address(grpc_port)
        self.server_url = settings.server_url(http_port)
        keys = load(key_source(settings, settings.data_dir))
        self._tokens = Tokens(
            database=database,
            keys=keys,
            server_url=self.server_url,
            grpc_broadcast_address=self.grpc_address,
            clock=clock,
            ids=ids,
        )
        sessions = Sessions(database, signing_keys(settings.auth_cookie_secrets, keys), clock)
        people = People(database, Passwords(), sessions, sign_in_rules(settings), clock, ids)
        if settings.database_dsn() is None:
            # The embedded database is ours alone: an instance that was killed need not be waited for.
            await release_all(database)
        engine = Engine(settings, database, hot, relaxed, clock, ids)
        await engine.start()
        self._stops.append(("engine", engine.stop))
        await self._open_doors(engine, people, database, clock, grpc_port, http_port)

    async def _open_postgres(self) -> str:
        external = self._settings.database_dsn()
        if external is not None:
            return external
        postgres = EmbeddedPostgres(self._settings.embedded_dir, programs=self._settings.postgres_programs)
        dsn = await postgres.start()
        self._stops.append(("postgres", postgres.stop))
        await self._start_part("postgres-keeper", PostgresKeeper(postgres))
        return dsn

    async def _open_database(self) -> tuple[Database, Database, Database]:
        """For reading, for the writers, and for writes that need not wait for the disk; sharing the allowed number."""
        fewest, most = self._settings.database_pool
        readers = max(FEWEST_READERS, most - HOT_CONNECTIONS - RELAXED_CONNECTIONS)
        database = await Database.open(self.dsn, min_connections=min(fewest, readers), max_connections=readers)
        self._stops.append(("database", database.close))
        hot = await Database.open(self.dsn, max_connections=HOT_CONNECTIONS, hot=True)
        self._stops.append(("database", hot.close))
        relaxed = await Database.open(self.dsn, max_connections=RELAXED_CONNECTIONS, hot=True, relaxed=True)
        self._stops.append(("database", relaxed.close))
        return database, hot, relaxed

    async def _open_doors(
        self,
        engine: Engine,
        people: People,
        database: Database,
        clock: DatabaseClock,
        grpc_port: int,
        http_port: int,
    ) -> None:
        settings = self._settings
        assert self._tokens is not None
        grpc_server = GrpcServer(
            services=engine.grpc_services(settings.grpc_max_message_bytes),
            tokens=self._tokens,
            host=settings.grpc_bind_address,
            port=grpc_port,
            credentials=server_credentials(
                strategy=settings.tls_strategy,
                cert=settings.tls_cert,
                cert_file=settings.tls_cert_file,
                key=settings.tls_key,
                key_file=settings.tls_key_file,
                root_ca=settings.tls_root_ca,
                root_ca_file=settings.tls_root_ca_file,
            ),
            max_message_bytes=settings.grpc_max_message_bytes,
        )
        self._health = health = Health([lambda: database.fetch("clock_read")], clock=clock)
        about = About(
            version=__version__,
            grpc_address=self.grpc_address,
            server_url=self.server_url,
            health_port=settings.healthcheck_port if settings.healthcheck else None,
            auth_schemes=("basic",) if settings.auth_basic else (),
            allow_signup=settings.allow_signup,
            allow_invites=settings.allow_invites,
            allow_create_tenant=settings.allow_create_tenant,
            allow_change_password=settings.allow_change_password,
            cookie=SessionCookie(
                name=settings.auth_cookie_name,
                domain=settings.auth_cookie_domain or None,
                is_secure=not settings.auth_cookie_insecure,
                lifetime_seconds=int(LIFETIME_SECONDS),
            ),
            embedded=settings.database_dsn() is None,
        )
        services = engine.rest_services(tokens=self._tokens, people=people, limits=RequestLimits(clock), health=health)
        http = HttpServer(
            build_app(services, about), host=settings.grpc_bind_address, port=http_port, variable="SERVER_PORT"
        )
        await http.start()
        self._stops.append(("http", http.stop))
        await grpc_server.start()
        self._stops.append(("grpc", lambda: _end_streams(engine, grpc_server)))
        if settings.healthcheck:
            probes = HttpServer(
                build_health_app(health, version=__version__),
                host=settings.grpc_bind_address,
                port=settings.healthcheck_port,
                variable="SERVER_HEALTHCHECK_PORT",
            )
            self.health_port = await probes.start()
            self._stops.append(("health", probes.stop))
        health.begin_serving()

    async def _start_part(self, name: str, part: Component) -> None:
        await part.start()
        self._stops.append((name, part.stop))


class PostgresKeeper(Loop):
    """Starts the embedded database again when it has died (killed for memory, by mistake, …)."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        super().__init__("postgres-keeper", 1.0)
        self._postgres = postgres

    async def turn(self) -> None:
        if await self._postgres.ensure_running():
            log.warning("the embedded database had died and was started again")


class Engine:
    """The services of one instance, wired."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        hot: Database,
        relaxed: Database,
        clock: DatabaseClock,
        ids: UuidIds,
    ) -> None:
        """``hot`` and ``relaxed`` as in :meth:`Database.open`; both may be ``database`` itself."""
        self.instance_id = ids.new()
        self._settings = settings
        self._database = database
        self._hot = hot
        self._relaxed = relaxed
        self._ids = ids
        # One for the schedulers of all tenants: a connection kept for each would use up the pool.
        self._assignments = relaxed.pinned()
        self.clock = clock
        retries = settings.max_internal_retries
        self.owners, self.flights, self.payloads = Owners(), Flights(), PayloadCache()
        self.bus = Bus(database, self.instance_id)
        self.registration = Registration(database=database, clock=clock, ids=ids)
        self.rebuild = Rebuild(database, self.registration)
        self.runs = OpenRuns()
        self.run_facts = RunFacts(database, self.registration, clock)
        self.results = Results(database, self.registration, self.run_facts, self.owners, self.bus)
        self.lookup = Lookup(database, self.flights, self.rebuild, self.run_facts)
        self.run_events = RunEvents(self.lookup, self.bus, clock)
        self.workers = Workers(database, relaxed, self.owners, self.bus, clock, ids, self.instance_id)
        self.endings = Endings(
            hot,
            self.flights,
            self.owners,
            self.payloads,
            self.results,
            self.run_events,
            self.bus,
            flush_gap=settings.flush_gap_seconds,
            flush_maximum=settings.flush_maximum,
        )
        self.dispatch = Dispatch(
            self.workers,
            self.flights,
            Inputs(database, self.payloads, self.runs, self.run_facts),
            self.endings,
            self.rebuild,
            self.bus,
            clock,
            self.instance_id,
            max_internal_retries=retries,
        )
        self.logs = TaskLogs(relaxed, self.lookup, clock, ids)
        self.reports = Reports(
            relaxed,
            self.flights,
            self.endings,
            self.rebuild,
            self.run_events,
            self.workers,
            clock,
            max_internal_retries=retries,
        )
        self.control = Control(
            database,
            self.owners,
            self.flights,
            self.endings,
            self.rebuild,
            self.run_facts,
            self.dispatch,
            self.bus,
            clock,
            max_internal_retries=retries,
        )
        self.removal = WorkflowRemoval(database, self.registration, self.control, self.bus)
        self.pausing = Pausing(database, self.owners, self.control, self.bus, clock)
        self.rate_limits = RateLimiting(database, self.owners, self.bus, clock)
        self.evicting = Evicting(
            database, self.owners, self.endings, self.rebuild, self.bus, clock, max_internal_retries=retries
        )
        self.replay = Replay(
            database, self.owners, self.rebuild, self.run_facts, self.results, self.evicting, self.bus, clock
        )
        self.bulk = Bulk(database, self.control, self.replay)
        self.why = Why(database, self.owners, self.rebuild, self.run_facts, self.bus, clock, ids)
        self.event_reading = EventReading(database, self.run_facts, clock)
        self.log_reading = LogReading(database, self.registration, clock)
        self.questions = OwnerQuestions(self.owners, self.bus, ids)
        self.queue_stats = QueueStats(self.questions, clock)
        self.worker_uses = WorkerUses(self.questions, database)
        self.reading = Reading(database, self.rebuild, self.run_facts)
        self.views = RunViews(database, self.rebuild, self.run_facts, clock)
        self.trigger = Trigger(
            hot,
            self.registration,
            self.owners,
            self.payloads,
            self.runs,
            self.run_facts,
            self.bus,
            clock,
            ids,
            self.instance_id,
            flush_gap=settings.flush_gap_seconds,
            flush_maximum=settings.flush_maximum,
        )
        self.durable_writes = DurableWrites(
            hot, flush_gap=settings.flush_gap_seconds, flush_maximum=settings.flush_maximum
        )
        self.durable_streams = DurableStreams(
            database=database,
            hot=hot,
            writes=self.durable_writes,
            workers=self.workers,
            flights=self.flights,
            owners=self.owners,
            rebuild=self.rebuild,
            trigger=self.trigger,
            evicting=self.evicting,
            bus=self.bus,
            clock=clock,
        )
        records = DurableRecords(
            database=database,
            owners=self.owners,
            rebuild=self.rebuild,
            evicting=self.evicting,
            replay=self.replay,
            clock=clock,
            branched=self.durable_streams.branched,
            entries_added=self.durable_streams.entries_added,
        )
        self.durable = Durable(self.durable_streams, records)
        self.schedules = Schedules(database, self.registration, self.trigger, self.bus, clock, ids)
        self.crons = Crons(database, self.registration, self.trigger, self.schedules, clock, ids)
        self.scheduled = ScheduledRuns(
            database, self.registration, self.rebuild, self.run_facts, self.schedules, clock, ids
        )
        self.filters = Filters(database, clock, ids)
        self.events = Events(
            database,
            hot,
            self.owners,
            EventTriggers(database, self.registration, self.trigger, clock, ids),
            self.bus,
            clock,
            ids,
            flush_gap=settings.flush_gap_seconds,
            flush_maximum=settings.flush_maximum,
        )
        self.ownership = Ownership(
            database,
            self.registration,
            self.workers,
            self.owners,
            self.flights,
            self.rebuild,
            self.run_facts,
            self.pausing,
            self.bus,
            self._scheduler,
            self._watch,
        )
        self.sweep = FlightSweep(self.flights, self.owners, self.rebuild)
        takes = bool({"all", "scheduler"} & set(settings.services))
        self._fires = takes
        self.leases = LeaseKeeper(
            database,
            self.bus,
            clock,
            self.instance_id,
            takes=takes,
            gained=self.ownership.gained,
            lost=self.ownership.lost,
            met=self._met,
        )

    async def start(self) -> None:
        """Begin to work; leases are asked for and their tenants recovered in the background."""
        await self.bus.start()
        await self.workers.start()
        await self.results.start()
        await self.run_events.start()
        await self.leases.start()
        await self.sweep.start()
        await self.durable_streams.start()
        if self._fires:
            await self.schedules.start()

    async def stop(self) -> None:
        """Finish the writes that were accepted, then let go of the leases so that another instance goes on at once."""
        await self.schedules.stop()
        await self.trigger.drain()
        await self.endings.drain()
        await self.reports.drain()
        await self.events.drain()
        await self.logs.drain()
        await self.dispatch.settle()
        await self.durable_streams.stop()
        await self.durable_streams.drain()
        await self.sweep.stop()
        await self.leases.stop()
        # Until now the schedulers went on: attempts whose worker was gone have been given back.
        await self.dispatch.settle()
        await self.endings.drain()
        await self.durable_writes.drain()
        await self._assignments.close()
        await self.run_events.stop()
        await self.results.stop()
        await self.workers.stop()
        await self.bus.stop()

    def grpc_services(self, max_message_bytes: int) -> dict[str, object]:
        """The handlers of the gRPC port."""
        return grpc_services(
            registration=self.registration,
            trigger=self.trigger,
            workers=self.workers,
            dispatch=self.dispatch,
            reports=self.reports,
            control=self.control,
            evicting=self.evicting,
            durable=self.durable,
            bulk=self.bulk,
            results=self.results,
            reading=self.reading,
            run_events=self.run_events,
            events=self.events,
            scheduled=self.scheduled,
            logs=self.logs,
            rate_limits=self.rate_limits,
            clock=self.clock,
            max_message_bytes=max_message_bytes,
        )

    def rest_services(self, *, tokens: Tokens, people: People, limits: RequestLimits, health: Health) -> Services:
        """What the routes of the HTTP port use."""
        return Services(
            tokens=tokens,
            api_tokens=tokens,
            people=people,
            limits=limits,
            tenants=Tenants(database=self._database, clock=self.clock),
            workers=WorkersRead(self._database, self.clock, self.workers.last_seen, FLUSH_SECONDS),
            pausing=self.workers,
            workflows=WorkflowsRead(self._database),
            workflow_pausing=self.pausing,
            workflow_removal=self.removal,
            bulk=self.bulk,
            filters=self.filters,
            rate_limits=self.rate_limits,
            crons=self.crons,
            scheduled=self.scheduled,
            views=self.views,
            trigger=self.trigger,
            events=self.event_reading,
            logs=self.log_reading,
            queue_stats=self.queue_stats,
            worker_uses=self.worker_uses,
            durable=self.durable,
            restoring=self.evicting,
            health=health,
        )

    def _met(self, peers: frozenset[str]) -> None:
        self.workers.peers = peers

    def _scheduler(self, tenant_id: str, lease: HeldLease) -> TenantScheduler:
        return TenantScheduler(
            tenant_id,
            lease,
            database=self._database,
            writer=self._assignments,
            workers=self.workers,
            flights=self.flights,
            dispatch=self.dispatch,
            clock=self.clock,
            make_runs=self._run_book,
            make_durable=self._durable_waits,
            verdicts=Verdicts(
                tenant_id,
                self.control,
                self.endings,
                self.clock,
                max_internal_retries=self._settings.max_internal_retries,
            ),
            notes=TaskNotes(tenant_id, self._relaxed, self.clock),
            ids=self._ids,
            flush_gap=self._settings.flush_gap_seconds,
            flush_maximum=self._settings.flush_maximum,
            lost=self.ownership.lost,
        )

    def _durable_waits(self, scheduler: TenantScheduler) -> DurableWaits:
        return DurableWaits(
            scheduler.tenant_id,
            scheduler.lease,
            database=self._database,
            writes=self.durable_writes,
            results=self.results,
            clock=self.clock,
            around=DurableAround(scheduler, self.durable_streams, self.evicting),
        )

    def _run_book(self, scheduler: TenantScheduler) -> RunBook:
        return RunBook(
            scheduler.tenant_id,
            scheduler.lease,
            # Nobody waits for these writes, but they must not get lost behind this instance's back: a crash of the
            # database alone would take them from the rows and not from its memory.
            database=self._hot,
            runs=self.runs,
            results=self.results,
            run_events=self.run_events,
            bus=self.bus,
            clock=self.clock,
            enqueue=scheduler.enqueue,
            closed=scheduler.run_closed,
        )

    def _watch(self, scheduler: TenantScheduler) -> Watch:
        return Watch(
            scheduler,
            database=self._database,
            registration=self.registration,
            workers=self.workers,
            endings=self.endings,
            dispatch=self.dispatch,
            rebuild=self.rebuild,
            run_facts=self.run_facts,
            pausing=self.pausing,
            bus=self.bus,
            clock=self.clock,
            instance_id=self.instance_id,
            max_internal_retries=self._settings.max_internal_retries,
        )


async def _end_streams(engine: Engine, grpc_server: GrpcServer) -> None:
    """Worker streams end first, by ourselves: the transport would otherwise wait its whole grace for them."""
    engine.dispatch.close_all()
    await grpc_server.stop(STOP_GRACE_SECONDS)


def _free_port(host: str) -> int:
    """A port for the setting 0: the tokens name it, so it must be known before anything listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
