/* SOAP 1.1 faults that carry an err from one daemon to another: the code travels by name, so that
 * two versions with different tables still understand each other, and a name unknown here reads as
 * INTERNAL. Namespaces are declared where exclusive C14N would put them: soap: is in scope from the
 * Body on, the detail's default namespace starts at its own element. */
#include "xml/soap.h"

#include <string.h>

#define FAULT_TEXT_MAX 4096

void
soap_fault_write(struct xml_writer *w, const struct err *e)
{
	int status = fault_status(e->code);

	xml_open(w, "soap:Fault");
	xml_element(w, "faultcode", status < 500 ? "soap:Client" : "soap:Server");
	xml_element(w, "faultstring", e->text);
	xml_open(w, "detail");
	xml_open(w, "Error");
	xml_attribute(w, "xmlns", NS_MALLEE);
	xml_element(w, "Code", fault_name(e->code));
	xml_elementf(w, "Number", "%d", e->number);
	xml_close(w, "Error");
	xml_close(w, "detail");
	xml_close(w, "soap:Fault");
}

static void
read_detail(xmlNode *fault, struct arena *arena, struct err *e)
{
	xmlNode *detail = xml_find(fault, "detail");
	xmlNode *error = detail ? xml_first(detail) : NULL;
	xmlNode *code, *number;
	const char *text;
	int64_t value;

	if (!xml_is(error, NS_MALLEE, "Error"))
		return;
	code = xml_find(error, "Code");
	text = code ? xml_text_of(code, 64, arena) : NULL;
	if (text)
		e->code = fault_from_name(text);
	number = xml_find(error, "Number");
	text = number ? xml_text_of(number, 20, arena) : NULL;
	if (text && str_to_i64(str_of(text), &value) && value >= 0 && value < 4096)
		e->number = (int)value;
}

bool
soap_fault_read(xmlNode *body, struct err *e)
{
	_cleanup_arena_ struct arena *arena = NULL;
	xmlNode *fault = xml_is(body, NS_SOAP, "Fault") ? body : xml_first(body), *string;
	const char *text;

	if (!xml_is(fault, NS_SOAP, "Fault") || xml_next(fault))
		return false;
	arena = arena_new(64 * 1024);
	string = xml_find(fault, "faultstring");
	text = string ? xml_text_of(string, FAULT_TEXT_MAX, arena) : NULL;
	err_set(e, ERR_INTERNAL, "%s", text ? text : "a fault without a reason");
	read_detail(fault, arena, e);
	return true;
}
