package recorded

func queues() []Request {
	q := Queue + "/recorded"
	message := "<QueueMessage><MessageText>aGVsbG8=</MessageText></QueueMessage>"
	xml := []string{"Content-Type: application/xml"}
	return []Request{
		{Version: "2009-09-19", Does: "makes a queue", Line: "PUT " + q, Upstream: raised, Azurite: 201},
		{Version: "2009-09-19", Does: "puts a message", Line: "POST " + q + "/messages?messagettl=60", Body: message, Header: xml, Upstream: raised, Differs: "the answer has a body that tells of the message (2016-05-31)", Azurite: 201},
		{Version: "2011-08-18", Does: "gets a message", Line: "GET " + q + "/messages?numofmessages=1&visibilitytimeout=30", Upstream: raised, Azurite: 200},
		{Version: "2011-08-18", Does: "lists queues", Line: "GET " + Queue + "/?comp=list&include=metadata", Upstream: raised, Differs: noURLs, Azurite: 200},
		{Version: "2016-05-31", Does: "puts a message", Line: "POST " + q + "/messages", Body: message, Header: xml, Upstream: raised, Azurite: 201},
		{Version: "2021-02-12", Does: "clears a queue", Line: "DELETE " + q + "/messages", Upstream: "2021-02-12", Azurite: 204},
		{Version: "2026-02-06", Does: "deletes a queue", Line: "DELETE " + q, Upstream: "2026-02-06", Azurite: 204},
	}
}

func tables() []Request {
	const (
		tooOld = "BearerdClientTooOld"
		least  = "2020-12-06"
		begin  = `<?xml version="1.0" encoding="utf-8" standalone="yes"?><entry xmlns:d="http://schemas.microsoft.com/ado/2007/08/dataservices" xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata" xmlns="http://www.w3.org/2005/Atom"><title/><updated>2011-10-04T08:15:30Z</updated><author><name/></author><id/><content type="application/xml"><m:properties>`
		end    = `</m:properties></content></entry>`
		batch  = "--batch_1\r\nContent-Type: multipart/mixed; boundary=changeset_1\r\n\r\n--changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
			"POST " + Table + "/recorded() HTTP/1.1\r\nContent-ID: 1\r\nContent-Type: application/json\r\nAccept: application/json;odata=nometadata\r\n\r\n" +
			`{"PartitionKey":"p","RowKey":"s"}` + "\r\n--changeset_1--\r\n--batch_1--\r\n"
		row = `{"PartitionKey":"p","RowKey":"r","greeting":"hello"}`
	)
	atom := []string{"Accept: application/atom+xml,application/xml", "Accept-Charset: UTF-8", "DataServiceVersion: 1.0;NetFx", "MaxDataServiceVersion: 2.0;NetFx"}
	atomBody := append([]string{"Content-Type: application/atom+xml"}, atom...)
	json := []string{"Accept: application/json;odata=minimalmetadata", "DataServiceVersion: 3.0;NetFx", "MaxDataServiceVersion: 3.0;NetFx"}
	jsonBody := append([]string{"Content-Type: application/json"}, json...)
	entity := Table + "/recorded(PartitionKey='p',RowKey='r')"
	return []Request{
		{Version: "2009-09-19", Lite: true, Does: "makes a table, in Atom", Line: "POST " + Table + "/Tables", Header: atomBody, Body: begin + "<d:TableName>recorded</d:TableName>" + end, Code: tooOld},
		{Version: "2011-08-18", Lite: true, Does: "inserts an entity, in Atom", Line: "POST " + Table + "/recorded", Header: atomBody, Body: begin + "<d:PartitionKey>p</d:PartitionKey><d:RowKey>r</d:RowKey>" + end, Code: tooOld},
		{Version: "2011-08-18", Lite: true, Does: "queries entities, in Atom", Line: "GET " + Table + "/recorded()?$filter=PartitionKey%20eq%20%27p%27&$top=5", Header: atom, Code: tooOld},
		{Version: "2012-02-12", Lite: true, Does: "sends a batch, of Atom", Line: "POST " + Table + "/$batch", Header: append([]string{"Content-Type: multipart/mixed; boundary=batch_1"}, atom...), Body: "--batch_1--\r\n", Code: tooOld},
		{Version: "2014-02-14", Does: "queries tables, in Atom", Line: "GET " + Table + "/Tables", Header: atom, Code: tooOld},
		{Version: "2015-07-08", Does: "queries entities, in Atom by $format", Line: "GET " + Table + "/recorded()?$format=atom", Header: json, Code: tooOld},
		{Version: "2013-08-15", Lite: true, Does: "makes a table, in JSON", Line: "POST " + Table + "/Tables", Header: jsonBody, Body: `{"TableName":"recorded"}`, Upstream: least, Azurite: 201},
		{Version: "2013-08-15", Does: "inserts an entity, in JSON", Line: "POST " + Table + "/recorded", Header: jsonBody, Body: row, Upstream: least, Azurite: 201},
		{Version: "2014-02-14", Does: "sends a batch of JSON, which asks for Atom", Line: "POST " + Table + "/$batch", Header: append([]string{"Content-Type: multipart/mixed; boundary=batch_1"}, atom...), Body: batch, Upstream: least, Azurite: 500, Note: "looks for the account in the path of each part"},
		{Version: "2015-12-11", Does: "merges an entity", Line: "MERGE " + entity, Header: append([]string{"If-Match: *"}, jsonBody...), Body: row, Upstream: least, Azurite: 204},
		{Version: "2018-03-28", Does: "reads an entity", Line: "GET " + entity, Header: json, Upstream: least, Azurite: 200},
		{Version: "2012-02-12", Does: "reads a table's access policies, which are XML", Line: "GET " + Table + "/recorded?comp=acl", Header: []string{"Accept: application/atom+xml,application/xml"}, Upstream: least, Azurite: 403, Note: noPolicies},
		{Version: "2019-02-02", Does: "queries entities", Line: "GET " + Table + "/recorded()?$top=5", Header: []string{"Accept: application/json;odata=nometadata", "DataServiceVersion: 3.0"}, Upstream: least, Azurite: 200},
		{Version: "2011-08-18", Lite: true, Does: "deletes an entity, asking for Atom", Line: "DELETE " + entity, Header: append([]string{"If-Match: *", "Content-Type: application/atom+xml"}, atom...), Upstream: least, Azurite: 204},
		{Version: "2020-12-06", Does: "inserts an entity", Line: "POST " + Table + "/recorded", Header: jsonBody, Body: row, Upstream: least, Azurite: 201},
		{Version: "2026-02-06", Does: "deletes a table", Line: "DELETE " + Table + "/Tables('recorded')", Header: []string{"Accept: application/json"}, Upstream: "2026-02-06", Azurite: 204},
	}
}

func files() []Request {
	const note, intent = "has no files", "x-ms-file-request-intent: backup"
	return []Request{
		{Version: "2014-02-14", Does: "reads a file", Line: "GET " + File + "/share/file", Upstream: "2022-11-02", Adds: intent, Note: note},
		{Version: "2017-04-17", Does: "reads a share's properties", Line: "GET " + File + "/share?restype=share", Upstream: "2024-11-04", Adds: intent, Note: note},
		{Version: "2026-02-06", Does: "lists a directory", Line: "GET " + File + "/share/dir?restype=directory&comp=list", Upstream: "2026-02-06", Adds: intent, Note: note},
	}
}
