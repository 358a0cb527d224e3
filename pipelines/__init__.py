"""The staged pipelines: one TOML file per pipeline, the stages, the command line."""
