"""The 20 prompts of the logits oracle: (name, kind, token count), and the texts they are cut from.

The ids that a prompt becomes are stored in the fixture, so a tokenizer here only has to be
deterministic and close to the real one, not identical to it.
"""

import random

ENGLISH = """The harbour had been quiet since the mail boat stopped calling, and the people who still lived
there had learned to listen for weather instead of engines. Every morning Ines walked to the end of the stone
pier, unlocked the tide gauge, and wrote down four numbers in a ledger that her grandmother had begun in 1931.
Nobody had asked her to. The institute that once collected the pages had moved twice and then closed, and the
last letter from it, a polite note about budgets, hung framed above the stove.

What the numbers showed depended on how long you looked. Over a week they were a breath, in and out, twice a
day. Over a month they leaned towards the moon. But when she drew a whole decade on one long sheet of
wallpaper, the line climbed: so slowly that no single page could have betrayed it, so steadily that no page
could hide it. She had shown the sheet to the fishermen, who nodded, and to the mayor, who asked whether the
gauge might be leaning.

It was a fair question. Instruments do lean. Wood swells, brass creeps, and an honest observer begins by
suspecting her own hands. So in the spring she built a second gauge, on the other side of the harbour, out of
glass tube, a cork float and a strip of steel that she had checked against the school's ruler at two
temperatures. For a year she read both. They disagreed by less than the thickness of a fingernail, and they
agreed about everything that mattered.

When the engineers finally arrived, three of them in a car too wide for the lanes, they carried a tablet
computer, a satellite receiver and a plan for a sea wall whose height had been decided in an office. Ines
brought out the ledger. The oldest of the engineers turned the pages with the tips of his fingers, the way one
handles a bird. "Who calibrated this?" he asked. She told him about the school ruler, the two temperatures and
the fingernail. He was silent for a while, and then he crossed out a number on his plan and wrote another one
above it, half a metre higher.

The wall was built in two summers. It is not beautiful, although children like to walk along the top of it
with their arms stretched out, and in October the light turns the concrete the colour of bread. The old gauge
stands on the seaward side now, behind a small brass plate with the wrong date on it. Ines never complained
about the date. She still comes every morning, a little slower than before, to open the box and read the four
numbers aloud. The wind takes them. Then she writes them down, because a measurement that is not written down
is only a memory, and memories, as everyone in the village knows, lean more than any instrument.

Some years later a student came by train and bus and finally on foot to ask what could be learned from such a
record that a satellite could not tell her better. Ines made tea before she answered. A satellite, she said,
knows the whole ocean and has known it since before you were born; it has never been wrong by more than a few
centimetres, and it will never once be cold. But it does not know that in the winter of the great storm the
gauge was repaired by candlelight, or that the low numbers in August of 1944 were written by a child because
the adults were hiding in the hills. A record is made of two things: what happened, and who was there. If you
keep only the first, you will be able to predict the sea. If you keep both, you may also understand why anyone
wanted to. The student wrote this down too, and then, after a moment, wrote down the time and the temperature.
"""

PYTHON = '''import heapq
from collections import defaultdict


class Graph:
    """A weighted directed graph with string nodes."""

    def __init__(self):
        self.edges = defaultdict(list)

    def add_edge(self, source, target, weight=1.0):
        if weight < 0:
            raise ValueError(f"negative weight {weight} on {source} -> {target}")
        self.edges[source].append((target, weight))

    def shortest_path(self, start, goal):
        queue = [(0.0, start, None)]
        came_from = {}
        while queue:
            cost, node, previous = heapq.heappop(queue)
            if node in came_from:
                continue
            came_from[node] = previous
            if node == goal:
                path = [node]
                while came_from[path[-1]] is not None:
                    path.append(came_from[path[-1]])
                return cost, path[::-1]
            for target, weight in self.edges[node]:
                if target not in came_from:
                    heapq.heappush(queue, (cost + weight, target, node))
        return float("inf"), []


if __name__ == "__main__":
    graph = Graph()
    for line in ["a b 4", "a c 1", "c b 2", "b d 5", "c d 8"]:
        source, target, weight = line.split()
        graph.add_edge(source, target, float(weight))
    print(graph.shortest_path("a", "d"))  # (8.0, ['a', 'c', 'b', 'd'])
'''

CPP = """#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

// Inclusive prefix sums, then a binary search: picks an index with probability weights[i] / total.
class AliasFreeSampler {
 public:
  explicit AliasFreeSampler(std::span<const uint32_t> weights) {
    cumulative_.reserve(weights.size());
    uint64_t sum = 0;
    for (uint32_t w : weights) cumulative_.push_back(sum += w);
  }

  size_t Pick(uint64_t random) const {
    const uint64_t point = random % cumulative_.back();
    const auto it = std::upper_bound(cumulative_.begin(), cumulative_.end(), point);
    return static_cast<size_t>(it - cumulative_.begin());
  }

 private:
  std::vector<uint64_t> cumulative_;  // rising; the last is the total
};
"""

JSON = """{"order": {"id": "A-20417", "placed": "2024-03-09T17:42:05Z", "customer": {"name": "Oyelaran & Sons",
"vat": null}, "lines": [{"sku": "BRK-0090", "quantity": 12, "price": 4.75}, {"sku": "BRK-0120", "quantity": 3,
"price": 6.10}, {"sku": "CLP-1", "quantity": 400, "price": 0.035}], "express": true, "notes": "leave at gate \\"B\\""}}"""

GERMAN = """Als der Zug zum dritten Mal auf freier Strecke hielt, legte der Herr gegenüber seine Zeitung zusammen,
seufzte und sagte, früher sei das anders gewesen. Niemand widersprach. Draußen standen Kühe im Regen und sahen
herüber, als hätten sie für diesen Halt bezahlt. Nach einer Weile begann ein Mädchen, laut die Überschriften
vorzulesen: Rekordernte, Streik bei der Müllabfuhr, ein entlaufener Pfau in Würzburg. Beim Pfau lachten alle,
sogar der Schaffner, der eben erklären wollte, warum es nicht weiterging, und es dann doch nicht wusste."""

FRENCH = """Le boulanger ouvrait à quatre heures, bien avant que la rue ne s'éveille. Il disait que la pâte,
comme les enfants, ne se commande pas : on la surveille, on l'attend, on lui parle un peu. Sa fille, qui
étudiait la chimie à Grenoble, lui avait expliqué les levures et les températures ; il avait écouté poliment,
puis il avait remis la main dans le pétrin « pour sentir ce que les chiffres oublient »."""

RUSSIAN = """Зимой дорога к станции пропадала под снегом, и жители посёлка ходили по ней на память, держась
телеграфных столбов. Учитель географии любил повторять, что карта, это обещание, а дорога, это его исполнение.
Ученики смеялись, но карту берегли: на ней красным карандашом были отмечены все колодцы, броды и даже старая
яблоня у поворота. Однажды метель шла четыре дня подряд. Когда она стихла, столбов не было видно, и первыми до
станции добрались именно дети: они помнили, сколько шагов от яблони до моста."""

CHINESE = """清晨的市场还没有完全醒来，卖豆腐的老人已经把木板擦得发亮。他不吆喝，只在有人走近时轻轻敲一下铜铃。
附近的孩子都知道，铃声响三下，说明今天的豆花里加了桂花；响一下，就是昨夜雨大，豆子泡得不好，他自己也不满意。
有人问他为什么不干脆写在牌子上，他想了想说：写在牌子上，你们就不会停下来听了。后来市场搬进了大楼，电梯旁装了
明亮的屏幕，价格每分钟更新一次，可是仍然有人在三楼的拐角处停住脚步，等那一声铃响。"""

ARABIC = """كان الحكواتي يجلس كل مساء عند باب المقهى، ويبدأ حكايته بالجملة نفسها: يا سادة يا كرام. وكان الأطفال
يعرفون أن الحكاية لن تنتهي الليلة، لأنه يتوقف دائماً عندما يرفع البطل سيفه، ثم يشرب شايه ويبتسم. سأله صبي ذات مرة:
متى ينزل السيف؟ فأجاب: عندما تكبر وتحكيها أنت. ومرت السنوات، وأغلق المقهى، لكن السيف ما زال مرفوعاً في ذاكرة الحي."""

ASIAN_MIX = """नदी के किनारे बैठा नाविक हर यात्री से एक ही प्रश्न पूछता था: उस पार क्या छोड़ आए हो? कोई हँसता, कोई चुप
रहता, और कोई किराया दुगना दे देता। 駅前の古い時計は五分遅れているが、町の人は誰も直そうとしない。五分あれば、
走ってくる人を待てるからだ。 할머니는 김장을 하는 날이면 온 동네 사람을 불러 모으셨다. 배추는 이백 포기, 이야기는 그보다
많았다. Ο παλιός φάρος δεν ανάβει πια, μα τα καράβια ακόμη τον χαιρετούν. בכל ערב שישי הייתה הרחוב מתמלא בריח של חלה."""

TABLE = """| planet | moons | day (h) | note |
|---|---:|---:|---|
| Mars | 2 | 24.6 | 🔴 dusty |
| Jupiter | 95 | 9.9 | the *largest* |
| Neptune | 16 | 16.1 | windy 💨🌀 |

- [x] observe
- [ ] publish <https://example.org/?q=a%20b&n=3>
"""

CHAT = "What is the capital of France? Answer in one sentence, please."


def _texts():
    digits = random.Random(7)
    numbers = " ".join(str(digits.randrange(10 ** digits.randrange(1, 12))) for _ in range(60))
    everything = "\n\n".join(
        [JSON, RUSSIAN, PYTHON, CHINESE, TABLE, GERMAN, numbers[:200], ARABIC, CPP, FRENCH, ASIAN_MIX])
    return {
        "chat": (CHAT, 25), "english": (ENGLISH[:400], 40), "english_long": (ENGLISH, 1024),
        "python": (PYTHON, 300), "cpp": (CPP, 256), "json": (JSON, 128), "digits": (numbers, 200),
        "repeated_word": ("the sea and " * 150, 333), "german": (GERMAN, 160),
        "french": (FRENCH, 100), "russian": (RUSSIAN, 256), "chinese": (CHINESE, 200),
        "arabic": (ARABIC, 150), "asian_mix": (ASIAN_MIX, 300), "everything": (everything, 1024),
        "table": (TABLE, 90), "one_token": ("Once", 1),
    }


def make_prompts(encode, vocab_size, bos=None):
    """[(name, ids)] for a tokenizer `encode(text) -> ids`; `bos` opens every prompt when given."""
    ids = random.Random(11)
    prompts = [(name, encode(text), length) for name, (text, length) in _texts().items()]
    prompts += [
        ("repeated_token", [encode(" sea")[-1]] * 128, 128),
        ("random_ids", [ids.randrange(vocab_size) for _ in range(512)], 512),
        ("random_ids_short", [ids.randrange(vocab_size) for _ in range(33)], 33),
    ]
    lead = [] if bos is None else [bos]
    return [(name, (lead + tokens)[:length]) for name, tokens, length in prompts]
