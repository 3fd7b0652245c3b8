"""Validates the description of the HTTP API and has schemathesis call everything it describes.

    openapi.py URL DIRECTORY SECONDS

URL is a server that may be changed at will, DIRECTORY an empty directory of its machine. Fails when the
description is not valid OpenAPI, when the server answers with a 5xx, or in another way than the
description says.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import openapi_spec_validator

SEED = "20260"


def narrowed(document, directories):
    """The same where requests name directories that there are: others only ever fail in one way."""
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {})
            properties = content.get("application/json", {}).get("schema", {}).get("properties", {})
            if "directory" in properties:
                properties["directory"] = {"enum": directories}
    return document


def main(url, directory, seconds):
    with urllib.request.urlopen(f"{url}/v1/openapi.json") as answer:
        document = json.load(answer)
    openapi_spec_validator.validate(document)

    directories = [pathlib.Path(directory, name) for name in ("one", "two")]
    for one in directories:
        one.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch, "openapi.json")
        file.write_text(json.dumps(narrowed(document, [str(one) for one in directories])))
        run = [
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", str(file), "--url", url,
            # It never ends.
            "--exclude-path", "/v1/events/stream",
            "--checks", "all",
            # A service that is a number, or a process that is not running, is no matter of a schema.
            "--exclude-checks", "positive_data_acceptance",
            "--seed", SEED, "--max-examples", "200", "--max-time", seconds,
            "--request-timeout", "20", "--no-shrink", "--no-color", "--warnings", "off",
        ]
        sys.exit(subprocess.run(run, cwd=scratch).returncode)


main(*sys.argv[1:])
