# lib.sh - what tests of the hub share. usage: after ../cli/lib.sh (and ../serve.sh), in $WORK.
fixed=(hub) # what hub_server is given
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME HF_TOKEN HF_TOKEN_PATH HF_HUB_OFFLINE
export HOME=$WORK HF_HOME=$WORK/home
cache=$HF_HOME/hub commit=0123456789abcdef0123456789abcdef01234567

# cached FOLDER FILE…: as if it had been fetched: blobs, links to them, and what main is
cached() {
    local dir=$cache/$1 file
    mkdir -p "$dir"/{blobs,refs,snapshots/$commit}
    for file in "${@:2}"; do
        cp "$file" "$dir/blobs/$(sha256sum <"$file" | cut -c1-64)"
        ln -s "../../blobs/$(sha256sum <"$file" | cut -c1-64)" "$dir/snapshots/$commit/${file##*/}"
    done
    printf %s $commit >"$dir/refs/main"
}
# publish KIND/OWNER/NAME [COMMIT]: what lies in hub/KIND/OWNER/NAME/files becomes what the hub lists: files of a kilobyte and more by SHA-256
publish() {
    python "hub/$1" "${2:-$commit}" <<'PYTHON'
import hashlib, json, os, sys
root, commit = sys.argv[1:]
tree = []
for base, dirs, names in os.walk(root + "/files"):
    for name in sorted(names):
        data = open(os.path.join(base, name), "rb").read()
        path = os.path.relpath(os.path.join(base, name), root + "/files")
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry = {"type": "file", "oid": git, "size": len(data), "path": path}
        if len(data) >= 1000:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entry["oid"] = hashlib.sha1(b"a pointer" + data).hexdigest()
        tree.append(entry)
    tree += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": d} for d in dirs]
json.dump(sorted(tree, key=lambda e: e["path"]), open(root + "/tree.json", "w"))
json.dump({"id": "x/y", "sha": commit, "siblings": []}, open(root + "/revision.json", "w"))
PYTHON
}
# lie KIND/OWNER/NAME PYTHON: the list is changed: t is its entries by path
lie() {
    python "hub/$1/tree.json" "$2" <<'PYTHON'
import json, sys
tree = json.load(open(sys.argv[1]))
t = {e["path"]: e for e in tree}
exec(sys.argv[2])
json.dump(tree, open(sys.argv[1], "w"))
PYTHON
}
