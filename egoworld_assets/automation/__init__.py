"""What runs by itself: sensors and schedules. Each decides from what Dagster and the store durably have.

An evaluation changes nothing: it answers with requests and a cursor, and Dagster commits both together. A tick that
fails or is killed therefore loses nothing, and "Test sensor" in the UI uses nothing up. The two exceptions, taking
files out of the inbox and ending runs whose process is dead, act only when the daemon asks (``pace.by_daemon``).
"""
