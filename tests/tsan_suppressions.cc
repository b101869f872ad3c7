// What ThreadSanitizer cannot know of a library that was built without it.
// Linked into every binary by --config=tsan; .bazelrc says how.
//
// absl::Status: the header counts a new owner up, in our code, but the library
// counts it down, unseen. To the sanitizer the last owner, who frees the text,
// knows nothing of the others. (The count itself is acquire and release.)
extern "C" const char* __tsan_default_suppressions();

const char* __tsan_default_suppressions() {
  return "race:absl::*::Status::Unref\n";
}
