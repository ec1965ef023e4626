#!/bin/sh
# Suggests a commit message for the staged changes of the git repository you are in.
set -eu
kvasir=${KVASIR:-kvasir}

if git diff --cached --quiet; then
  echo "nothing is staged: git add something first" >&2
  exit 2
fi
# The first 8,000 characters say what a change is about, and small models read no more well.
git diff --cached | head -c 8000 |
  "$kvasir" chat --max-tokens 60 --stop "
" -p "Write one short line, at most ten words, that says what this change does:"
