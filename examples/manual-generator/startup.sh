#!/bin/sh
# `exec`, so that the app itself gets the SIGTERM of a stop and can finish its requests.
mkdir -p logs uploads
exec python3 app.py
