"""Every word of the page, in English and Chinese. {name} stands for what the page puts in."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "zh")


def _both(en: str, zh: str) -> Mapping[str, str]:
    return {"en": en, "zh": zh}


WORDS: Mapping[str, Mapping[str, str]] = {
    # ---- frame
    "title": _both("Sensorium", "Sensorium"),
    "skip": _both("Skip to the content", "跳到正文"),
    "tabs": _both("What to do", "功能"),
    "search": _both("Search", "搜索"),
    "ask": _both("Ask", "提问"),
    "compare": _both("Compare", "对比"),
    "explore": _both("Explore", "探索"),
    "reports": _both("Reports", "报告"),
    "language": _both("中文", "English"),
    "language.about": _both("切换到中文", "Switch to English"),
    "theme": _both("Light or dark", "浅色或深色"),
    "loading": _both("Loading …", "加载中…"),
    "wrong": _both("That did not work", "出错了"),
    "unreachable": _both(
        "The server does not answer. Is “sensorium serve” still running?",
        "服务器没有响应。“sensorium serve” 还在运行吗？",
    ),
    "busy": _both(
        "Many are asking at once; try again in {seconds} s.", "当前请求较多，请在 {seconds} 秒后重试。"
    ),
    "copy": _both("Copy", "复制"),
    "copied": _both("Copied", "已复制"),
    # ---- media
    "modality.text": _both("words", "文字"),
    "modality.image": _both("pictures", "图片"),
    "modality.audio": _both("sounds", "声音"),
    "modality.video": _both("clips", "视频"),
    "modality.state": _both("sensor states", "传感器状态"),
    "one.image": _both("Picture", "图片"),
    "one.audio": _both("Sound", "声音"),
    "one.video": _both("Clip", "视频"),
    "add.image": _both("Add a picture", "添加图片"),
    "add.audio": _both("Add a sound", "添加声音"),
    "add.video": _both("Add a clip", "添加视频"),
    "add.microphone": _both("Record with the microphone", "用麦克风录音"),
    "recording": _both("Recording … press again to stop", "正在录音……再按一次结束"),
    "recorded": _both("recording", "录音"),
    "no.microphone": _both(
        "The browser gave no microphone. It needs your permission, and a page from this machine or over https.",
        "浏览器未提供麦克风。需要您的许可，并且页面须来自本机或通过 https 访问。",
    ),
    "remove": _both("Remove {name}", "移除 {name}"),
    "too.large": _both(
        "{name} is larger than {most} MB, the most that is taken.", "{name} 超过上限 {most} MB。"
    ),
    "not.taken": _both("{name}: this model takes {modalities}.", "{name}：该模型只接受{modalities}。"),
    "drop": _both("Drop it here", "拖放到这里"),
    "model": _both("Model", "模型"),
    "index": _both("Index", "索引"),
    # ---- search
    "search.title": _both("Find things by what they show", "按内容查找"),
    "search.words": _both("What are you looking for?", "你在找什么？"),
    "search.go": _both("Search", "搜索"),
    "search.many": _both("Show", "显示"),
    "search.kind": _both("Kind", "类型"),
    "search.all": _both("all", "全部"),
    "search.try": _both("Try", "试试"),
    "search.some": _both("Some of {total} things in “{index}”", "“{index}” 共 {total} 项，其中一些："),
    "search.some.hint": _both(
        "Type words, add a picture or a sound, or choose a thing to see what is near it.",
        "输入文字、添加图片或声音，或点选一项查看与它相近的内容。",
    ),
    "search.found": _both("The {count} nearest to {query}", "与{query}最相近的 {count} 项"),
    "search.seconds": _both("{seconds} s", "{seconds} 秒"),
    "search.none": _both(
        "Nothing fits these filters. Take one away.", "没有符合这些筛选条件的内容，请去掉一个条件。"
    ),
    "search.like": _both("Search for what is near: {caption}", "查找与它相近的：{caption}"),
    "search.score": _both("cosine {score}", "余弦 {score}"),
    "search.score.about": _both(
        "The number is the cosine between the query and the thing: 1 is the same direction. The nearest thing is "
        "shown even where none fits.",
        "数字是查询与该项的余弦相似度：1 表示方向相同。即使没有合适的内容，也会显示最接近的。",
    ),
    "search.this": _both("this", "它"),
    "search.and": _both("and", "和"),
    "search.empty": _both("This index is empty", "索引是空的"),
    "search.empty.how": _both("Add media to it, and reload:", "向其中添加内容，然后重新加载："),
    "search.noindex": _both("No index is served yet", "尚未提供索引"),
    "search.noindex.how": _both(
        "An index makes a folder of pictures, sounds and clips searchable. Make one with a joint embedding, and serve "
        "both:",
        "索引让一个文件夹里的图片、声音和视频可以被搜索。用联合嵌入模型建一个索引，然后一起提供服务：",
    ),
    # ---- ask
    "ask.title": _both("Ask about what you see and hear", "就图片和声音提问"),
    "ask.words": _both("Your question", "你的问题"),
    "ask.go": _both("Ask", "提问"),
    "ask.stop": _both("Stop", "停止"),
    "ask.clear": _both("Clear", "清空"),
    "ask.takes": _both("“{model}” reads {modalities}.", "“{model}” 可读取：{modalities}。"),
    "ask.takes.not": _both("It has no encoder for {modalities}.", "它没有用于{modalities}的编码器。"),
    "ask.scene": _both("Use a drawn scene", "使用一张绘制的场景"),
    "ask.scene.name": _both("scene {number}", "场景 {number}"),
    "ask.try": _both("Ask for instance", "例如可以问"),
    "ask.q.describe": _both("Describe the picture.", "请描述这张图。"),
    "ask.q.many": _both("How many things are there?", "图中一共有几个东西？"),
    "ask.q.ground": _both("What colour is the ground?", "背景是什么颜色？"),
    "ask.q.biggest": _both("Which thing is the biggest?", "哪个东西最大？"),
    "ask.q.said": _both("Write down what is said.", "Write down what is said."),
    "ask.you": _both("You", "你"),
    "ask.thinking": _both("reading …", "正在读取…"),
    "ask.stopped": _both("stopped", "已停止"),
    "ask.cut": _both("ended at the longest answer allowed", "已达到回答长度上限"),
    "ask.used": _both(
        "{read} tokens read, {written} written, {seconds} s",
        "读取 {read} 个词元，写出 {written} 个，{seconds} 秒",
    ),
    "ask.options": _both("Options", "选项"),
    "ask.temperature": _both("Temperature (0: the likeliest words)", "温度（0：最可能的词）"),
    "ask.longest": _both("Longest answer, in tokens", "回答最长词元数"),
    "ask.look": _both("Where did it look?", "它看了哪里？"),
    "ask.looking": _both("Hiding spot after spot …", "正在逐块遮挡…"),
    "ask.look.title": _both("Where the answer looked", "回答看了哪里"),
    "ask.look.whole": _both("whole answer", "整个回答"),
    "ask.look.words": _both("Of which word?", "查看哪个词？"),
    "ask.look.about": _both(
        "The darker, the less likely the answer became when this spot and its neighbours were hidden from the language "
        "model. It shows what these words were due to, not that they are right; what several spots say alike does not "
        "show.",
        "颜色越深，表示向语言模型遮住该处及其邻近区域后，这个回答的概率下降得越多。"
        "它说明这些词由什么而来，并不说明回答正确；多处同时表达的内容不会显示出来。",
    ),
    "ask.look.seen": _both("with it", "看到时"),
    "ask.look.blind": _both("with all of it hidden", "全部遮住时"),
    "ask.look.likely": _both("How likely these words are", "这些词的概率"),
    "ask.look.nothing": _both(
        "Hiding any one spot takes nothing away: the answer does not hang on a single place.",
        "遮住任何一处都没有影响：回答并不取决于某一个位置。",
    ),
    "ask.look.time": _both("over the time of the sound, {seconds} s", "沿声音的时间，共 {seconds} 秒"),
    "ask.nomodel": _both("No language model is served yet", "尚未提供语言模型"),
    "ask.nomodel.how": _both(
        "A quickstart trains a small one that answers questions about pictures. Then serve its folder:",
        "quickstart 会训练一个能回答图片问题的小模型。然后提供它的文件夹：",
    ),
    # ---- compare
    "compare.title": _both("Two models, one input", "两个模型，同一输入"),
    "compare.a": _both("Left", "左"),
    "compare.b": _both("Right", "右"),
    "compare.go": _both("Compare", "对比"),
    "compare.labels": _both("Labels, one a line", "标签，每行一个"),
    "compare.labels.some": _both(
        "a fruit\nan animal\na vehicle\na person", "a fruit\nan animal\na vehicle\na person"
    ),
    "compare.words": _both("Words", "文字"),
    "compare.nearest": _both("Nearest in its index", "其索引中最相近的"),
    "compare.fits": _both("Which label fits", "哪个标签合适"),
    "compare.noindex": _both("No index of this model is served.", "没有提供该模型的索引。"),
    "compare.takes": _both(
        "Add words, or one medium that both take: {modalities}.",
        "添加文字，或两者都接受的一项内容：{modalities}。",
    ),
    "compare.few": _both("It takes two to compare", "对比需要两个模型"),
    "compare.few.how": _both(
        "Serve two checkpoints of one kind: two language models, two joint embeddings or two fusion networks. For "
        "instance:",
        "提供两个同类的检查点：两个语言模型、两个联合嵌入或两个融合网络。例如：",
    ),
    "compare.now": _both("Served now: {names}.", "目前提供：{names}。"),
    "compare.same": _both("Both say the same.", "两者回答相同。"),
    "compare.differ": _both("They differ.", "两者回答不同。"),
    "task.chat": _both("language models", "语言模型"),
    "task.embedding": _both("joint embeddings", "联合嵌入"),
    "task.classification": _both("fusion networks", "融合网络"),
    # ---- explore
    "explore.title": _both("An index seen from above", "俯瞰索引"),
    "explore.about": _both(
        "{shown} of {total} things by {method}: near means alike to the model. Two directions of many; what "
        "lies apart in others can lie together here.",
        "共 {total} 项，显示 {shown} 项，投影方法 {method}：相近表示模型认为相似。"
        "这里只是众多方向中的两个；在其他方向上分开的内容，在此可能重叠。",
    ),
    "explore.colour": _both("Colour by", "着色依据"),
    "explore.none": _both("nothing", "不着色"),
    "explore.pictures": _both("Pictures", "图片"),
    "explore.dots": _both("Dots", "圆点"),
    "explore.draw": _both("Draw", "显示为"),
    "explore.in": _both("Zoom in", "放大"),
    "explore.out": _both("Zoom out", "缩小"),
    "explore.all": _both("Show all", "显示全部"),
    "explore.keys": _both(
        "Arrow keys go from thing to thing, + and − zoom, 0 shows all, Enter searches from a thing.",
        "方向键在各项之间移动，+ 和 − 缩放，0 显示全部，Enter 从该项开始搜索。",
    ),
    "explore.map": _both("Map of the index", "索引地图"),
    "explore.search": _both("Search from it", "从它搜索"),
    "explore.few": _both(
        "Three things at least make a map; this index has fewer.", "地图至少需要三项内容，此索引不足三项。"
    ),
    "explore.gap": _both("Modality gap", "模态间隙"),
    "explore.gap.about": _both(
        "How far {first} and {second} that belong together lie apart in the space that they share.",
        "在共享空间里，相互对应的{first}与{second}相距多远。",
    ),
    "explore.gap.measure": _both("Measure it", "测量"),
    "explore.gap.measuring": _both("Embedding captions …", "正在嵌入说明文字…"),
    "explore.gap.none": _both(
        "There is nothing to measure between: the index has one modality, and no captions that the model embeds.",
        "没有可测量的对象：索引只有一种模态，且没有模型可嵌入的说明文字。",
    ),
    "explore.gap.distance": _both("Distance of the two means", "两个均值的距离"),
    "explore.gap.blind": _both("the same, dealt at random", "随机分组时"),
    "explore.gap.separability": _both("Told apart by a linear classifier", "线性分类器的区分率"),
    "explore.gap.matched": _both("Cosine of pairs that belong together", "对应配对的余弦"),
    "explore.gap.unmatched": _both("Cosine of all pairs", "所有配对的余弦"),
    "explore.gap.reading": _both(
        "Pairs must lie nearer than all do for searches to work. A large gap does no harm to searches of one kind of "
        "thing, but makes scores across kinds incomparable.",
        "对应配对必须比一般配对更近，搜索才有效。间隙大并不妨碍单一类型的搜索，但会使跨类型的分数无法比较。",
    ),
    "captions": _both("captions", "说明文字"),
    # ---- reports
    "reports.title": _both("The runs behind the models", "模型背后的训练"),
    "reports.report": _both("report", "报告"),
    "reports.card": _both("model card", "模型卡"),
    "reports.open": _both("Open alone", "单独打开"),
    "reports.frame": _both("Report of {name}", "{name} 的报告"),
    "reports.none": _both("No run left a report", "没有找到训练报告"),
    "reports.none.how": _both(
        "Trainings that evaluate write a report.html into their folder. This one does, in minutes:",
        "带评估的训练会在其文件夹写出 report.html。例如下面的命令，几分钟即可：",
    ),
}
