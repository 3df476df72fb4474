"""config/schemas and config/asyncapi.yaml: sound, with examples that keep them, and in agreement with docs/records.md and the defaults."""
import re
import sys
import unittest
from pathlib import Path

import fastjsonschema
import schemas
import yaml

ROOT = Path(__file__).resolve().parents[2]
ASYNCAPI = yaml.safe_load((ROOT / "config/asyncapi.yaml").read_text())
RECORDS = (ROOT / "docs/records.md").read_text()
NAMES = [path.name.removesuffix(".schema.json") for path in schemas.FOLDER.glob("*.schema.json")]


def members(section, after=""):
    """Names in the first column of the tables of a section of docs/records.md, in the table whose head holds `after`."""
    text = re.search(rf"(?ms)^## {section}\n(.*?)(?=^## |\Z)", RECORDS).group(1)
    tables = [table for table in re.findall(r"(?m)(?:^\|.*\n)+", text) if after in table.split("\n", 1)[0]]
    return {name for table in tables for row in table.splitlines()[2:] for name in re.findall(r"`([\w.-]+)`", row.split("|")[1])}


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


class Schemas(unittest.TestCase):
    def test_examples(self):
        self.assertEqual(6, len(NAMES))
        for name in NAMES:
            schema, validate = schemas.load(name), schemas.compiled(name, closed=True)
            self.assertEqual(f"{name}.schema.json", schema["$id"])
            for example in schema.get("examples", []):
                validate(example)
                for member in schema["required"]:
                    with self.assertRaises(fastjsonschema.JsonSchemaException, msg=f"{name} without {member}"):
                        validate({k: v for k, v in example.items() if k != member})

    def test_the_page_has_the_same_members(self):
        properties = {name: set(schemas.load(name)["properties"]) for name in NAMES}
        self.assertEqual(members("Requests", "call request"), properties["call-request"])
        self.assertEqual(members("Requests", "recording request"), properties["recording-request"])
        self.assertEqual(members("Results", "member"), properties["call-result"] | properties["recording-result"])
        self.assertEqual(members("Results", "header") | {"traceparent", "tracestate"}, properties["result-headers"])
        self.assertEqual(members("Dead letters", "header"), properties["dead-letter-headers"])

    def test_results_of_no_status_but_the_known(self):
        known = set(re.findall(r"(?m)^\| `(\w+)` \| .* \| .* \|$", (ROOT / "README.md").read_text())) & set(
            schemas.load("call-result")["properties"]["status"]["enum"])
        self.assertEqual(known, set(schemas.load("recording-result")["properties"]["status"]["enum"]))


class AsyncApi(unittest.TestCase):
    def test_references(self):
        found = list(references(ASYNCAPI))
        self.assertGreater(len(found), 15)
        for reference in found:
            file, _, inner = reference.partition("#")
            if file:
                self.assertTrue((ROOT / "config" / file).is_file(), reference)
                continue
            node = ASYNCAPI
            for part in inner.strip("/").split("/"):
                node = node[part]
        used = {reference.removeprefix("schemas/") for reference in found if reference.startswith("schemas/")}
        self.assertEqual({f"{name}.schema.json" for name in NAMES}, used)

    def test_names_are_the_defaults(self):
        configuration = (ROOT / "docs/configuration.md").read_text()
        default = {key: re.search(rf"(?m)^\| `{re.escape(key)}` \| `([\w-]+)`", configuration).group(1) for key in (
            "topic.call.requests", "topic.call.results", "topic.recording.requests", "topic.recording.results", "topic.dead.letters",
            "kafka.group.id")}
        addresses = {channel["address"] for channel in ASYNCAPI["channels"].values()}
        self.assertEqual({value for key, value in default.items() if key != "kafka.group.id"}, addresses)
        groups = {operation["bindings"]["kafka"]["groupId"]["enum"][0] for operation in ASYNCAPI["operations"].values()
                  if operation["action"] == "receive"}
        self.assertEqual({default["kafka.group.id"], default["kafka.group.id"] + "-recordings"}, groups)
        version = re.search(r"project\(\S+ VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
        self.assertEqual(version, ASYNCAPI["info"]["version"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
