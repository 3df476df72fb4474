#!/usr/bin/python3
"""image.py OUT.tar NAME:TAG ROOT.tar|FOLDER [entrypoint=JSON] [user=UID] [env=JSON]: an image of one layer, as `docker save` writes it."""
import hashlib
import io
import json
import os
import platform
import sys
import tarfile


def owned_by_root(member):
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def digest(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def main(out, name, root, *options):
    given = dict(o.split("=", 1) for o in options)
    layer = root
    if os.path.isdir(root):
        layer = out + ".layer"
        with tarfile.open(layer, "w") as archive:
            archive.add(root, ".", filter=owned_by_root)
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "os": "linux",
        "config": {"Entrypoint": json.loads(given.get("entrypoint", "null")), "User": given.get("user", ""),
                   "Env": [path, *json.loads(given.get("env", "[]"))]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(out, "w") as archive:
        for member_name, text in ((config_name, config), ("manifest.json", manifest)):
            member = tarfile.TarInfo(member_name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        archive.add(layer, "layer.tar")
    if layer != root:
        os.unlink(layer)


main(*sys.argv[1:])
