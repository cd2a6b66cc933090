"""Checks manifests of custom resources against the schemas of their projects, as kubectl's strict validation would.

    custom_resources.py SCHEMAS MANIFEST...

SCHEMAS is a folder of files with CustomResourceDefinitions. Fields that a schema does not know are errors, too.
"""

import sys
from pathlib import Path

import jsonschema
import yaml


def closed(schema):
    """The schema, where an object has only the fields that are named, unless it says otherwise."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and "properties" in schema and not is_open:
        schema["additionalProperties"] = False
    return schema


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def schemas(folder):
    """The schemas by API version and kind."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        for definition in documents(path):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                # Kubernetes' own fields, of which a definition need not tell.
                for field in ("apiVersion", "kind", "metadata"):
                    schema["properties"][field] = {}
                name = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                found[name] = schema
    return found


def main():
    known = schemas(Path(sys.argv[1]))
    has_failed = False
    for path in map(Path, sys.argv[2:]):
        for document in documents(path):
            name = document["apiVersion"], document["kind"]
            if name not in known:
                sys.exit(f"{path}: no schema for {' '.join(name)}")
            # Bounds are exclusive by a boolean beside them, as in OpenAPI 3.0.
            problems = list(jsonschema.Draft4Validator(known[name]).iter_errors(document))
            for problem in problems:
                print(f"{path}: {'.'.join(map(str, problem.absolute_path))}: {problem.message}")
            has_failed = has_failed or bool(problems)
            if not problems:
                print(f"{path}: {' '.join(name)} is valid")
    sys.exit(has_failed)


main()
