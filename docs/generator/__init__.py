"""What docs/generate.py writes, made from the contracts: schemas, TypeScript types and pages. Reads no file."""
