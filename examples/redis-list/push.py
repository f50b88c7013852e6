"""Push a job for `segued bridge redis-list`: python push.py 127.0.0.1 6379 album/song.flac, or a file's URL."""

import json
import sys
import uuid

import redis

host, port, place = sys.argv[1:]
job = {"job_id": str(uuid.uuid4()), "url" if "://" in place else "file_path": place}
redis.Redis(host, int(port)).rpush("audio_analysis_queue", json.dumps(job))
print(job["job_id"])
