"""config/schemas: every record that a test sends or reads goes through them."""
import json
import pathlib
import re

import fastjsonschema

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "config" / "schemas"
HEADERS_OF_RESULTS = {"ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_specversion", "content-type", "traceparent", "tracestate"}
BEYOND_SCHEMAS = ("EndMinute", "expiresAt")  # rules of time, which no schema can tell

FORMS_OF_INTEGERS = re.compile(rb"-0\b|\d[.eE]")  # the worker wants digits; to a schema 1.0 is the integer 1, too


def load(name):
    return json.loads((FOLDER / f"{name}.schema.json").read_text())


def compiled(name, closed=False):
    """closed: with no members but those that the schema names. New ones may come for readers, but not unsaid."""
    return fastjsonschema.compile({**load(name), **({"additionalProperties": False} if closed else {})})


RESULT = {"call": compiled("call-result", closed=True), "recording": compiled("recording-result", closed=True)}
REQUEST = {"call": compiled("call-request"), "recording": compiled("recording-request")}
RESULT_HEADERS, DEAD_LETTER_HEADERS = compiled("result-headers", closed=True), compiled("dead-letter-headers")


def check(validate, value, what):
    try:
        validate(value)
    except fastjsonschema.JsonSchemaException as why:
        raise AssertionError(f"{what} breaks its schema: {why}: {value}") from None


def kind_of(headers):
    return "recording" if headers.get("ce_type") == "privacycall.recording.result.v1" else "call"


def check_result(value, headers):
    check(RESULT_HEADERS, headers, "a result's headers")
    check(RESULT[kind_of(headers)], value, "a result")


def check_dead_letter(headers):
    """headers: {name: text}; the request's own may be any."""
    check(DEAD_LETTER_HEADERS, headers, "a dead letter's headers")
    if headers["dlq.reason"] == "late-outcome":
        check(RESULT["call"], json.loads(headers["dlq.outcome"]), "a late outcome")


def check_request(raw, result, kind):
    """What the worker took, the schema takes; what it refused for a member, the schema refuses."""
    try:
        value = json.loads(raw)
    except (TypeError, ValueError, RecursionError):
        return
    code, message = (result.get("error") or {}).get("code"), (result.get("error") or {}).get("message", "")
    if result["status"] != "invalid":
        check(REQUEST[kind], value, "a request that was taken")
    elif (code in ("member-missing", "member-invalid") and raw.isascii() and not message.startswith(BEYOND_SCHEMAS)
          and not FORMS_OF_INTEGERS.search(raw)):
        try:
            REQUEST[kind](value)
        except fastjsonschema.JsonSchemaException:
            return
        raise AssertionError(f"a request that was refused ({message}) keeps its schema: {value}")
