"""`tidelog serve http`: a status page, its API and its events, over HTTP. Read-only (extra ``[web]``)."""
