"""The codec's speed, beside the least time that its memory traffic takes, a torch pipeline, and hivemind's codecs."""
