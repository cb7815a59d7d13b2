#!/bin/sh
# The last words of `make demo`.
cat <<TEXT

Done: Output/sample/dub.es.mkv. Play it; the original sound is its second audio track.
  Output/sample/report.es.html    what was done, line by line, and what deserves a look

What to try next:
  . .venv/bin/activate
  polydub dub $1/sample.mkv --to es --mt apertium                 translated by the machine (make system)
  polydub models pull deepfilternet3 resemblyzer faster-whisper-small   listen better (once; 500 MB)
  polydub dub VIDEO --to es                                       what is said is recognised
  polydub dub VIDEO --to es --transcript VIDEO.en.srt --translation VIDEO.es.srt
  polydub engines                                                 what is here, what is missing, how to get it
  docs/tutorial.md                                                the ten-minute tour
TEXT
