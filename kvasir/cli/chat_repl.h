// ChatRepl: the conversation on a terminal: prompt, line editing, /commands, streamed answers.
// Ctrl-C stops an answer; at an idle prompt twice in a row, or Ctrl-D, it ends the program. Main
// thread.

#ifndef KVASIR_CLI_CHAT_REPL_H_
#define KVASIR_CLI_CHAT_REPL_H_

#include <string>

#include "kvasir/base/status.h"
#include "kvasir/cli/chat_session.h"
#include "kvasir/cli/interrupt.h"

namespace kvasir {

// Runs until the user ends it. `greeting` is shown first; `history_path` may be empty. Errors of
// single turns are shown and end nothing; the Status tells of a terminal that is gone.
Status RunChatRepl(ChatSession& session, const std::string& greeting,
                   const std::string& history_path, InterruptScope& interrupt);

}  // namespace kvasir

#endif  // KVASIR_CLI_CHAT_REPL_H_
