"""How a new server gets its first owner, over HTTP."""

from quart import Blueprint
from quart_schema import security_scheme, validate_request, validate_response

from admin.routes.inputs import Email, Input, Name, Token
from admin.services.people.passwords import Password
from admin.services.people.people import Person
from admin.services.people.setup import Setup


class FirstOwner(Input, frozen=True, kw_only=True):
    """The first owner. token: as the server has printed it."""

    token: Token
    email: Email
    password: Password
    name: Name | None = None


def setup_blueprint(setup: Setup) -> Blueprint:
    """POST /api/setup."""
    blueprint = Blueprint("setup", __name__)

    @blueprint.post("/api/setup")
    @security_scheme([])  # anybody may
    @validate_request(FirstOwner)
    @validate_response(Person, 201)
    async def post_setup(data: FirstOwner) -> tuple[Person, int]:
        """Make the first owner with the token that the server printed; it works once. 403 setup_token_invalid."""
        person = await setup.make_owner(data.token, email=data.email, name=data.name or "", password=data.password)
        return person, 201

    return blueprint
