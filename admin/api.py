"""The REST API: what it is configured with, what it is made of, and its routes."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from quart import Blueprint

from admin.routes.access import Access, FindByToken
from admin.routes.audit import audit_blueprint
from admin.routes.calls import calls_blueprint
from admin.routes.flags import flags_blueprint
from admin.routes.keys import keys_blueprint
from admin.routes.live import live_blueprint
from admin.routes.me import me_blueprint
from admin.routes.numbers import numbers_blueprint
from admin.routes.outbound import outbound_blueprint
from admin.routes.people import people_blueprint
from admin.routes.personas import personas_alias, personas_blueprint
from admin.routes.previews import previews_blueprint
from admin.routes.rates import Rates
from admin.routes.session import session_blueprint
from admin.routes.setup import setup_blueprint
from admin.services.calls.call_history import CallHistory
from admin.services.flags import Flags
from admin.services.live.live import Live
from admin.services.outbound.live_calls import LiveCalls
from admin.services.outbound.outbound import Outbound
from admin.services.outbound.outbound_rules import OutboundRules
from admin.services.outbound.twilio_rest import TwilioRest
from admin.services.people.api_keys import ApiKeys
from admin.services.people.audit_trail import AuditTrail
from admin.services.people.logins import LogIns
from admin.services.people.passwords import Passwords
from admin.services.people.people import People, PeopleRules
from admin.services.people.sessions import Sessions
from admin.services.people.setup import Setup
from admin.services.people.supabase import SupabasePeople
from admin.services.people.supabase_auth import SupabaseAuth, SupabaseRules
from admin.services.people.supabase_tokens import SupabaseTokens
from admin.services.personas.personas import USUAL_RULES, PersonaRules, Personas
from admin.services.personas.previews import OpenSpeech, PreviewRules, Previews
from admin.services.rate_limits import RateLimits, RateRules
from admin.services.telephone.phone_numbers import PhoneNumbers
from admin.store.database import Database


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """The services behind the routes. access: lets requests in; secure_cookies: see PeopleRules."""

    access: Access
    audit_trail: AuditTrail
    sessions: Sessions
    logins: LogIns
    people: People
    keys: ApiKeys
    setup: Setup
    secure_cookies: bool
    personas: Personas
    previews: Previews
    numbers: PhoneNumbers
    outbound: Outbound
    live_calls: LiveCalls
    call_history: CallHistory
    live: Live
    flags: Flags


class Telephone(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to place calls and to change them, see Outbound and LiveCalls."""

    rest: TwilioRest | None = None
    public_url: str | None = None
    rules: OutboundRules = OutboundRules()
    staff_number: str | None = None


NO_TELEPHONE: Final = Telephone()


def open_api(
    database: Database,
    now: Callable[[], datetime],
    *,
    live: Live | None = None,
    speech: OpenSpeech | None = None,
    preview_rules: PreviewRules | None = None,
    telephone: Telephone = NO_TELEPHONE,
    people: PeopleRules | None = None,
    persona_rules: PersonaRules = USUAL_RULES,
    directory_changed: Callable[[], None] = lambda: None,
    rate_rules: RateRules | None = None,
    redis_url: str | None = None,
) -> Api:
    """The services over this database.

    Args: now, wall time, in UTC; live, the calls in progress, None where there are none; speech, where previews are
    spoken, None where they cannot be; people, how they are let in; directory_changed, called when a change of what
    answers calls is kept; rate_rules, how often one may ask, None for as often as they like; redis_url, where several
    processes count together.
    """
    lets_in = people or PeopleRules()
    keys, sessions = ApiKeys(database, now), Sessions(database, now, lets_in.sessions)
    passwords = Passwords(lets_in.password_cost)
    rates = None if rate_rules is None else Rates(RateLimits(now, redis_url), rate_rules)
    rest, public_url, rules = telephone.rest, telephone.public_url, telephone.rules
    return Api(
        access=Access(
            by_key=keys.principal,
            by_session=sessions.principal,
            by_jwt=_by_jwt(database, now, lets_in.supabase),
            rates=rates,
        ),
        audit_trail=AuditTrail(database),
        sessions=sessions,
        logins=LogIns(database, now, passwords, sessions, lets_in.logins),
        people=People(database, now, passwords),
        keys=keys,
        setup=Setup(database, now, passwords),
        secure_cookies=lets_in.secure_cookies,
        personas=Personas(database, now, persona_rules, directory_changed),
        previews=Previews(database, now, speech, preview_rules),
        numbers=PhoneNumbers(database, now, directory_changed),
        outbound=Outbound(database, now, rest=rest, public_url=public_url, rules=rules),
        live_calls=LiveCalls(
            database, now, rest=rest, public_url=public_url, rules=rules, staff_number=telephone.staff_number
        ),
        call_history=CallHistory(database, now),
        live=live or Live(now),
        flags=Flags(database, now),
    )


def _by_jwt(database: Database, now: Callable[[], datetime], rules: SupabaseRules | None) -> FindByToken | None:
    if rules is None:
        return None
    tokens = SupabaseTokens(rules, SupabaseAuth(rules), now)
    return SupabasePeople(database, now, tokens, rules.newcomers).principal


def blueprints(api: Api) -> list[Blueprint]:
    """Everything under /api."""
    return [
        me_blueprint(api.access),
        audit_blueprint(api.access, api.audit_trail),
        session_blueprint(api.access, api.sessions, api.logins, secure_cookies=api.secure_cookies),
        people_blueprint(api.access, api.people),
        keys_blueprint(api.access, api.keys),
        setup_blueprint(api.setup),
        personas_blueprint(api.access, api.personas),
        personas_alias(api.access, api.personas),
        previews_blueprint(api.access, api.previews),
        numbers_blueprint(api.access, api.numbers),
        outbound_blueprint(api.access, api.outbound, api.live_calls),
        calls_blueprint(api.access, api.call_history),
        live_blueprint(api.access, api.live),
        flags_blueprint(api.access, api.flags),
    ]
