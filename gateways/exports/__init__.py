"""Exports: copies taken away as Avro container files with a manifest, checked, and brought back.

PLACE/
    ledger.0000.avro    blocks of volume ledger, ascending, some 64 MiB of content a file
    ledger.0001.avro
    manifest.json       what it is and what is in it; written last, and only with it is there an export
"""
