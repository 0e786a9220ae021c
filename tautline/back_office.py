"""What the server does with its database, beside the calls: keeps their records, answers the REST API, tidies up.

Nothing here is on a call's way. Without a database, or while it is away, calls go on; what they leave waits.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from admin.api import Api, Telephone, open_api
from admin.services.calls.call_record import Rung
from admin.services.calls.call_records import CallRecords
from admin.services.calls.call_summary import Models
from admin.services.calls.processes import Processes, this_process
from admin.services.calls.retention import Retention
from admin.services.calls.spool import FOLDER, Spool
from admin.services.live.live import Live
from admin.services.outbound.twilio_rest import TwilioRest
from admin.services.people.people import PeopleRules
from admin.services.people.supabase_auth import SupabaseRules
from admin.services.personas.personas import PersonaRules
from admin.services.personas.previews import OpenSpeech
from admin.services.rate_limits import RateRules
from admin.services.telephone.call_facts import facts_of, own_number
from admin.services.telephone.directory import Directory
from admin.services.telephone.reception import Reception
from admin.services.telephone.stored_personas import read_personas
from admin.store.database import Database
from relay import Arrival, LogEvent, Persona
from tautline import setup_token
from tautline.settings import Settings
from tautline.shared import SharedBoards, Worker
from tautline.spoken_personas import SpokenPersonas
from tautline.store import prepare, wall_time


class BackOffice:
    """Args: worker, who this process is among several that share the port, None when it serves alone; spoken, gives all
    personas their audio, and answers as the settings' one where there is no other; speech, where previews are spoken,
    None where they cannot be.

    Attributes: api and reception, for the app; live, the calls in progress; records, of all calls.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        worker: Worker | None,
        spoken: SpokenPersonas,
        speech: OpenSpeech | None = None,
    ) -> None:
        self._settings, self._database, self._worker, self._spoken = settings, database, worker, spoken
        self._process = this_process()
        self._models = _models(settings)
        self.live = _live(worker)
        self._telephone = _telephone(settings)
        self.records = CallRecords(
            database,
            wall_time,
            process_id=self._process.id,
            spool=Spool(settings.data_dir / FOLDER, self._process.id),
            models=self._models,
        )
        personas = partial(read_personas, usual_keys=settings.persona().dtmf)
        self._directory = Directory(database, personas, lambda: spoken.usual, announce=spoken.want)
        self.reception = Reception(
            find=self._directory.route,
            book=self._rung,
            report=self.records.reported,
            until_safe=self.records.until_kept,
            now=wall_time,
        )
        self.api = self._open_api(speech)

    def who_answers(self, arrival: Arrival) -> Persona:
        """The persona of a call that begins: the version that its token claims, else whoever its number has now."""
        route = self._directory.route(own_number(arrival))
        version = arrival.persona_version or route.persona_version
        return self._spoken.with_audio(self._directory.persona_for(version, facts_of(arrival, route, wall_time())))

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        self.records.offer(call_sid, event)
        self.live.offer(call_sid, event)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Do all of it inside this context; the last records are written at its end, for a bounded time.

        Raises: UnknownSchemaError, OutdatedSchemaError, in a group.
        """
        async with self.records.writing(), trio.open_nursery() as nursery:
            await nursery.start(self._prepare)
            await nursery.start(self._directory.keep_fresh)
            if self._telephone.rest is not None:
                await self._telephone.rest.load()
            nursery.start_soon(self._processes().run)
            if self._worker is not None:
                nursery.start_soon(self.live.keep_exchanging)
            if self._settings.retention_days is not None:
                nursery.start_soon(self._retention(self._settings.retention_days).run)
            yield
            nursery.cancel_scope.cancel()

    def _rung(self, rung: Rung) -> None:
        """A call has come, or is being placed."""
        self.records.rung(rung)
        self.live.rung(rung)

    async def _prepare(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring the database to the present schema, and let a first owner in. Reports as `prepare` does."""
        await prepare(self._database, migrates=self._settings.migrates, task_status=task_status)
        if self._worker is None or self._worker.number == 1:  # one of them says it
            address = self._settings.public_url or f"http://localhost:{self._settings.port}"
            await setup_token.offer(self.api.setup, address)

    def _open_api(self, speech: OpenSpeech | None) -> Api:
        settings = self._settings
        return open_api(
            self._database,
            wall_time,
            live=self.live,
            speech=speech,
            telephone=self._telephone,
            people=_people_rules(settings),
            persona_rules=PersonaRules(max_personas=settings.max_personas),
            directory_changed=self._directory.changed,
            rate_rules=RateRules(
                per_principal=settings.rate_limit_per_minute, per_address=settings.rate_limit_per_address_per_minute
            ),
            redis_url=settings.redis_url,
        )

    def _processes(self) -> Processes:
        return Processes(
            self._database, wall_time, own=self._process, models=self._models, adopt=self.records.adopt
        )  # fmt: skip

    def _retention(self, days: int) -> Retention:
        return Retention(self._database, wall_time, days=days, process_id=self._process.id)


def _people_rules(settings: Settings) -> PeopleRules:
    is_https = (settings.public_url or "").startswith("https://")
    supabase = None
    if settings.supabase_url is not None and settings.supabase_key is not None:
        supabase = SupabaseRules(
            url=settings.supabase_url,
            key=settings.supabase_key,
            audience=settings.supabase_jwt_audience,
            newcomers=settings.supabase_newcomers,
        )
    return PeopleRules(secure_cookies=is_https, supabase=supabase)


def _telephone(settings: Settings) -> Telephone:
    credentials = settings.twilio_credentials()
    return Telephone(
        rest=None if credentials is None else TwilioRest(credentials),
        public_url=settings.public_url,
        rules=settings.outbound_rules(),
        staff_number=settings.staff_number,
    )


def _live(worker: Worker | None) -> Live:
    if worker is None:
        return Live(wall_time)
    return Live(wall_time, source=str(worker.number), exchange=SharedBoards(worker))


def _models(settings: Settings) -> Models:
    """What calls are charged for; the simulator has no price."""
    return Models(realtime=settings.openai_realtime_model, is_charged=not settings.uses_simulator)
