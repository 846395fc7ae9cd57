"""The nouns and the rules. Pure: no reply, no SQL, no file name, no thread, no clock."""
