#!/bin/sh
# `exec` lets the app itself receive SIGTERM, so that it can finish its requests.
mkdir -p logs uploads
exec python3 app.py
