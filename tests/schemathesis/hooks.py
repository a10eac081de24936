"""What a schema cannot say about valid requests to the gateway."""

import atexit
import collections
import re

import schemathesis
from hypothesis import strategies as st

SAMPLES = [
    "0x1001a5b0e9d2c47f83b6e1d05a9c7f24e8d31001",
    "0x2002def1c8a94b7e60d3f5a2197bc4e8d60f2002",
    "0x2002DEF1C8A94B7E60D3F5A2197BC4E8D60F2002",
    "SampLe3So1anaWa11etkQ8vTn5rXc2ydBfGj7mPzUh3",
    "0x40040c5e7b1fa93d28e6c04b97d5a1f3e8204004",
    "0x5005d057f3a82c6be914d70c5b8e2f96a1435005",
    "0x6006ba1ee5d94c73f02b8a6e1c57d3f984be6006",
    # Mixed case, with a right checksum.
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
]
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data):
    """The data's base58 form."""
    digits, rest = "", int.from_bytes(data, "big")
    while rest:
        rest, digit = divmod(rest, 58)
        digits = BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


# A regular expression knows neither checksums nor how long a decoded text is.
schemathesis.openapi.format(
    "wallet-address",
    st.one_of(
        st.sampled_from(SAMPLES),
        st.binary(min_size=20, max_size=20).map(lambda key: "0x" + key.hex()),
        st.binary(min_size=32, max_size=32).map(base58),
    ),
)

CHAINS = ["ethereum", "base", "arbitrum", "polygon", "solana", "linea"]

# The last cursor that each operation has given, with the request that it
# belongs to: it fits one wallet and one selection.
given = {}
answers = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    """Counts answers by status, and keeps cursors."""
    answers[str(response.status_code)] += 1
    cursor = re.search(rb'"next":"([A-Za-z0-9_-]+)"', response.content[-5000:])
    if cursor:
        kept = {name: value for name, value in (case.query or {}).items() if name != "limit"}
        query = {**kept, "cursor": cursor[1].decode()}
        given[case.operation.label] = (dict(case.path_parameters), query)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes valid requests of what only looks valid to a schema."""
    if not (case.meta and case.meta.generation.mode.is_positive):
        return
    query = case.query or {}
    # Nobody can make up a cursor. One that was given is sent as a client would.
    if query.pop("cursor", None) and case.operation.label in given:
        case.path_parameters, rest = given[case.operation.label]
        case.query = {**rest, "limit": query.get("limit", 1000)}
        answers["pages behind the first"] += 1
        return
    # A chain that neither the service nor the wallet knows is refused, since
    # an empty answer would hide a mistake.
    chains = query.get("chains")
    if chains:
        ids = chains if isinstance(chains, list) else chains.split(",")
        known = [CHAINS[len(name) % len(CHAINS)] for name in ids]
        query["chains"] = known if isinstance(chains, list) else ",".join(known)


@atexit.register
def tell():
    """Says how many answers of each status there were."""
    print("answers:", ", ".join(f"{status}: {answers[status]}" for status in sorted(answers)))
