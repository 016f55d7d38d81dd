"""Deploys to devices without Python: what `deploy.release.agent_session` is to those with it."""
