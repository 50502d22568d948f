"""Who is told: findings, alerts and health over ZeroMQ."""
