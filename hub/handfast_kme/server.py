"""The key delivery API of ETSI GS QKD 014 V1.1.1 over HTTPS: URLs, verbs, status codes, identities.

aiohttp, because it hands the TLS object of the connection to the handler: the SAE is who the verified client
certificate says (clause 5.1), never what a header says. 200, 400, 401 and 503 are all that the standard
lists; each error has an Error body (clause 6.5). What HTTP itself does not understand gets aiohttp's own 400
before any handler, made into the same form.
"""

import asyncio
import json
import logging
import ssl
from typing import Any

from aiohttp import web

from handfast.core.errors import Error
from handfast_kme import messages
from handfast_kme.certificates import subject_of
from handfast_kme.delivery import Delivery, Unauthorized
from handfast_kme.messages import BadRequest, Unavailable
from handfast_kme.tables import Consumer

log = logging.getLogger("handfast_kme")

# A Key IDs request with 128 IDs has about 8 KB.
MAX_BODY = 65536
RETRY_AFTER = "5"


class Server:
    """The HTTPS server of one KME."""

    def __init__(self, delivery: Delivery, tls: ssl.SSLContext) -> None:
        self._delivery, self._tls = delivery, tls
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; OSError when the port is taken."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_as_the_standard_says])
        keys = "/api/v1/keys/{sae}"
        # allow_head: HEAD is not in the standard.
        app.router.add_get(f"{keys}/status", self._status, allow_head=False)
        app.router.add_get(f"{keys}/enc_keys", self._enc_keys, allow_head=False)
        app.router.add_post(f"{keys}/enc_keys", self._enc_keys)
        app.router.add_get(f"{keys}/dec_keys", self._dec_keys, allow_head=False)
        app.router.add_post(f"{keys}/dec_keys", self._dec_keys)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """Stop listening and finish what was begun."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        caller = self._caller(request)
        await _no_body(request)
        if request.query_string:
            raise BadRequest("status takes no query")
        return _answer(200, await self._delivery.status(caller, request.match_info["sae"]))

    async def _enc_keys(self, request: web.Request) -> web.Response:
        caller = self._caller(request)
        if request.method == "GET":
            await _no_body(request)
            query = messages.key_request_query(request.query)
        else:
            query = messages.key_request(await _json(request))
        return _answer(200, await self._delivery.enc_keys(caller, request.match_info["sae"], query))

    async def _dec_keys(self, request: web.Request) -> web.Response:
        caller = self._caller(request)
        if request.method == "GET":
            await _no_body(request)
            if list(request.query) != ["key_ID"]:
                raise BadRequest("GET takes exactly one key_ID; use POST for several")
            key_ids = [messages.key_id(request.query["key_ID"])]
        else:
            key_ids = messages.key_ids(await _json(request))
        return _answer(200, await self._delivery.dec_keys(caller, request.match_info["sae"], key_ids))

    def _caller(self, request: web.Request) -> Consumer:
        transport = request.transport
        tls = None if transport is None else transport.get_extra_info("ssl_object")
        return self._delivery.sae(subject_of(tls))


async def _no_body(request: web.Request) -> None:
    if await request.read():
        raise BadRequest("GET carries no body here; use POST")


async def _json(request: web.Request) -> dict[str, Any]:
    if request.query_string:
        raise BadRequest("POST takes its parameters from the body, not from the URL")
    if request.content_type != "application/json":
        raise BadRequest("the content type should be application/json")
    return messages.read_json(await request.read())


@web.middleware
async def _as_the_standard_says(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every way out is one of the four status codes, with the body that belongs to it."""
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except BadRequest as error:
        return _answer(400, {"message": error.message})
    except Unauthorized as error:
        return _answer(401, {"message": str(error)})
    except Unavailable as error:
        body = {"message": error.detail, "details": [{"reason": error.reason}]}
        return _answer(503, body, {"Retry-After": RETRY_AFTER})
    except web.HTTPException as error:
        # Unknown URLs, verbs and bodies that are too long: 404, 405 and 413 are not in the standard.
        return _answer(400, {"message": f"this is no request of ETSI GS QKD 014: {error.reason}"})
    except asyncio.CancelledError:
        raise
    except Error as error:
        log.error("a request failed: %s", error.detail)
        return _answer(503, {"message": error.detail, "details": [{"reason": "internal"}]})
    except Exception:
        log.exception("a request failed")
        return _answer(503, {"message": "the KME failed", "details": [{"reason": "internal"}]})


def _answer(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
